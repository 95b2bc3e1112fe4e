import os
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from auditflow.config import Config, Problem
from auditflow.config.tenants.file import Terms
from auditflow.config.tenants.folder import TenantFolder, Tenants, load_tenants
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.plugins import Catalogue, discover

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tenants"
    folder.mkdir()
    return folder


@pytest.fixture
def terms(catalogue: Catalogue) -> Terms:
    return Terms({}, catalogue)


@pytest.fixture
def write(folder: Path) -> Write:
    """Write a tenant's file: its text, or a sound one for a tenant of this name."""

    def write(name: str, text: str = "") -> Path:
        file = folder / name
        draft = folder / f".{name}.draft"
        draft.write_text(dedent(text) or sound(file.stem))
        draft.rename(file)  # another inode: a file system's clock may be too coarse to tell two writes apart
        return file

    return write


def sound(tenant: str, pipeline: str = "all") -> str:
    return f"tenantId: {tenant}\npipelines: [{{name: {pipeline}, sink: {{name: logging_sink}}}}]\n"


def names(tenants: Tenants) -> dict[str, list[str]]:
    return {
        tenant_id: [pipeline.name for pipeline in tenant.pipelines]
        for tenant_id, tenant in tenants.by_id.items()
    }


def said(problems: tuple[Problem, ...]) -> list[tuple[str, int, int, str]]:
    return [(Path(each.file).name, each.line, each.column, each.path) for each in problems]


def test_each_file_is_one_tenant(folder: Path, write: Write, terms: Terms) -> None:
    write(
        "acme.yaml",
        """\
        tenantId: acme.eu
        enabled: "true"
        quota: {rateLimitPerSec: 200, burst: "400"}
        pipelines:
          - name: a
            sink: {name: logging_sink}
          - name: b
            enabled: false
            sink: {name: logging_sink}
        """,
    )
    write("b.yml", "tenant-id: 42\nenabled: false\nquota: {rate-limit-per-sec: 5}\n")
    tenants = load_tenants(folder, terms)
    assert tenants.problems == ()
    acme, other = tenants.get("acme.eu"), tenants.get("42")
    assert acme
    assert other
    assert (acme.enabled, acme.quota.rate_limit_per_sec, acme.quota.burst) == (True, 200, 400)
    assert (other.enabled, other.quota.rate_limit_per_sec, other.quota.burst) == (False, 5, None)
    assert [(tenant, pipeline.name) for tenant, pipeline in tenants.pipelines()] == [("acme.eu", "a")]
    assert tenants.get("nobody") is None


def test_what_a_file_leaves_out_is_enabled_and_without_a_quota(
    folder: Path, write: Write, terms: Terms
) -> None:
    write("acme.yaml", "tenantId: acme\n")
    acme = load_tenants(folder, terms).by_id["acme"]
    assert (acme.enabled, acme.quota.rate_limit_per_sec, acme.pipelines) == (True, 0, ())


def test_all_problems_of_all_files_are_listed_with_their_place(
    folder: Path, write: Write, terms: Terms
) -> None:
    write(
        "bad.yaml",
        """\
        tenantId: _platform
        quotas: {}
        quota: {burst: 0}
        pipelines:
          - {name: a, sink: {name: loging_sink}}
          - {name: a, sink: {name: logging_sink, properties: {log-levl: INFO}}}
        """,
    )
    write("empty.yaml", "# nothing yet\n")
    write("text.yaml", "tenantId: [\n")
    tenants = load_tenants(folder, terms)
    assert tenants.by_id == {}
    assert said(tenants.problems) == [
        ("bad.yaml", 1, 11, "tenantId"),
        ("bad.yaml", 2, 1, "quotas"),
        ("bad.yaml", 3, 16, "quota.burst"),
        ("bad.yaml", 5, 28, "pipelines[0].sink.name"),
        ("bad.yaml", 6, 12, "pipelines[1].name"),
        ("bad.yaml", 6, 55, "pipelines[1].sink.properties.log-levl"),
        ("empty.yaml", 1, 1, ""),
        ("text.yaml", 2, 1, ""),
    ]
    assert [each.hint for each in tenants.problems[:2]] == [
        "write its pipelines at the top of auditflow.yaml",
        "did you mean quota?",
    ]


def test_variables_are_those_of_the_environment(folder: Path, write: Write, catalogue: Catalogue) -> None:
    write("a.yaml", "tenantId: ${NAME}\n")
    write("b.yaml", "tenantId: ${UNSET}\n")
    tenants = load_tenants(folder, Terms({"NAME": "acme"}, catalogue))
    assert list(tenants.by_id) == ["acme"]
    assert said(tenants.problems) == [("b.yaml", 1, 11, "tenantId")]


def test_delivery_is_as_the_pipeline_says_else_the_tenant_else_the_main_file(
    folder: Path, write: Write, catalogue: Catalogue
) -> None:
    write(
        "acme.yaml",
        """\
        tenantId: acme
        delivery: {max-attempts: 5, max-in-flight: 2}
        pipelines: [{name: a, sink: {name: logging_sink}, delivery: {max-attempts: 9}}]
        """,
    )
    defaults = DeliveryPolicy.model_validate({"max-attempts": 1, "when-blocked": "dead-letter"})
    [(_, pipeline)] = load_tenants(folder, Terms({}, catalogue, defaults)).pipelines()
    policy = pipeline.delivery
    assert (policy.max_attempts, policy.max_in_flight, policy.when_blocked) == (9, 2, "dead-letter")


def test_only_files_that_are_meant_are_read(folder: Path, write: Write, terms: Terms) -> None:
    write("acme.yaml")
    for other in (".hidden.yaml", "README.md", "acme.yaml~", "acme.yaml.bak"):
        (folder / other).write_text("no: tenant\n")
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    tenants = load_tenants(folder, terms)
    assert list(tenants.by_id) == ["acme"]
    ignored = {Path(each.file).name: each.message for each in tenants.problems}
    assert ignored == dict.fromkeys(("folder.yaml", "pipe.yaml"), "this is no file, so it is ignored")


def test_a_file_that_cannot_be_read_is_a_problem(folder: Path, terms: Terms) -> None:
    (folder / "gone.yaml").symlink_to(folder / "nowhere")
    [problem] = load_tenants(folder, terms).problems
    assert "cannot be read" in problem.message


def test_a_broken_file_keeps_its_last_good_form_and_stops_nobody_else(
    folder: Path, write: Write, terms: Terms
) -> None:
    write("acme.yaml", sound("acme", "first"))
    write("other.yaml")
    good = load_tenants(folder, terms)
    write("acme.yaml", sound("acme", "second") + "enabeld: true\n")
    write("new.yaml")
    broken = load_tenants(folder, terms, good)
    assert names(broken) == {"acme": ["first"], "new": ["all"], "other": ["all"]}
    assert said(broken.problems) == [("acme.yaml", 3, 1, "enabeld")]
    write("acme.yaml", sound("acme", "second"))
    fixed = load_tenants(folder, terms, broken)
    assert (names(fixed)["acme"], fixed.problems) == (["second"], ())


def test_a_file_that_is_taken_away_takes_its_tenant_with_it(folder: Path, write: Write, terms: Terms) -> None:
    file = write("acme.yaml")
    before = load_tenants(folder, terms)
    file.unlink()
    assert load_tenants(folder, terms, before).by_id == {}


def test_of_two_files_with_one_id_the_first_by_name_counts(folder: Path, write: Write, terms: Terms) -> None:
    write("b.yaml", sound("acme", "b"))
    write("a.yaml", sound("acme", "a"))
    tenants = load_tenants(folder, terms)
    assert names(tenants) == {"acme": ["a"]}
    [problem] = tenants.problems
    assert (Path(problem.file).name, problem.line, problem.column) == ("b.yaml", 1, 11)
    assert problem.message == "acme is the tenant of a.yaml already"


def test_a_file_that_was_there_before_keeps_its_id(folder: Path, write: Write, terms: Terms) -> None:
    write("b.yaml", sound("acme", "b"))
    before = load_tenants(folder, terms)
    write("a.yaml", sound("acme", "a"))
    both = load_tenants(folder, terms, before)
    assert names(both) == {"acme": ["b"]}
    assert said(both.problems) == [("a.yaml", 1, 11, "tenantId")]
    (folder / "b.yaml").unlink()
    assert names(load_tenants(folder, terms, both)) == {"acme": ["a"]}


def test_a_file_that_takes_anothers_id_keeps_its_last_good_form(
    folder: Path, write: Write, terms: Terms
) -> None:
    write("a.yaml", sound("first"))
    write("b.yaml", sound("second"))
    before = load_tenants(folder, terms)
    write("a.yaml", sound("second", "stolen"))
    tenants = load_tenants(folder, terms, before)
    assert names(tenants) == {"first": ["all"], "second": ["all"]}
    assert said(tenants.problems) == [("a.yaml", 1, 11, "tenantId")]


def test_two_tenants_may_swap_their_files(folder: Path, write: Write, terms: Terms) -> None:
    write("a.yaml", sound("first", "x"))
    write("b.yaml", sound("second", "y"))
    before = load_tenants(folder, terms)
    write("a.yaml", sound("second", "y"))
    write("b.yaml", sound("first", "x"))
    tenants = load_tenants(folder, terms, before)
    assert (names(tenants), tenants.problems) == ({"first": ["x"], "second": ["y"]}, ())


def test_a_change_is_in_force_after_two_looks(folder: Path, write: Write, terms: Terms) -> None:
    write("acme.yaml", sound("acme", "first"))
    tenants = TenantFolder(folder, terms)
    assert [tenants.refresh(), tenants.refresh()] == [False, False]
    write("acme.yaml", sound("acme", "second"))
    write("new.yaml")
    assert [tenants.refresh(), tenants.refresh()] == [False, True]
    assert names(tenants.tenants) == {"acme": ["second"], "new": ["all"]}
    (folder / "acme.yaml").unlink()
    assert [tenants.refresh(), tenants.refresh()] == [False, True]
    assert names(tenants.tenants) == {"new": ["all"]}


def test_a_file_is_not_read_while_it_is_being_written(folder: Path, write: Write, terms: Terms) -> None:
    write("acme.yaml", sound("acme", "first"))
    tenants = TenantFolder(folder, terms)
    tenants.refresh()
    with (folder / "acme.yaml").open("w") as file:
        for line in sound("acme", "second").splitlines(keepends=True):
            file.write(line)
            file.flush()
            assert not tenants.refresh()
            assert names(tenants.tenants) == {"acme": ["first"]}
    assert tenants.refresh()
    assert names(tenants.tenants) == {"acme": ["second"]}


def test_a_file_that_is_only_touched_changes_nothing(folder: Path, write: Write, terms: Terms) -> None:
    file = write("acme.yaml")
    tenants = TenantFolder(folder, terms)
    acme = tenants.tenants.by_id["acme"]
    tenants.refresh()
    os.utime(file, (1, 1))
    assert [tenants.refresh(), tenants.refresh()] == [False, False]
    assert tenants.tenants.by_id["acme"] is acme


def test_a_mounted_config_map_is_followed_through_its_swaps(tmp_path: Path, terms: Terms) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()

    def publish(version: str, pipeline: str) -> None:
        (folder / version).mkdir()
        (folder / version / "acme.yaml").write_text(sound("acme", pipeline))
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").rename(folder / "..data")

    publish("..2026_01", "first")
    (folder / "acme.yaml").symlink_to("..data/acme.yaml")
    tenants = TenantFolder(folder, terms)
    assert names(tenants.tenants) == {"acme": ["first"]}
    tenants.refresh()
    publish("..2026_02", "second")
    assert [tenants.refresh(), tenants.refresh()] == [False, True]
    assert names(tenants.tenants) == {"acme": ["second"]}


def test_a_folder_that_goes_away_is_shown_and_takes_no_tenant_with_it(
    folder: Path, write: Write, terms: Terms
) -> None:
    write("acme.yaml")
    tenants = TenantFolder(folder, terms)
    folder.rename(folder.parent / "away")
    assert tenants.refresh()
    assert names(tenants.tenants) == {"acme": ["all"]}
    [problem] = tenants.tenants.problems
    assert problem.file == str(folder)
    (folder.parent / "away").rename(folder)
    tenants.refresh()
    tenants.refresh()
    assert (names(tenants.tenants), tenants.tenants.problems) == ({"acme": ["all"]}, ())


def test_other_terms_judge_every_file_again(folder: Path, write: Write, tmp_path: Path, terms: Terms) -> None:
    write("acme.yaml", "tenantId: acme\npipelines: [{name: a, sink: {name: mine}}]\n")
    write("other.yaml")
    tenants = TenantFolder(folder, terms)
    assert names(tenants.tenants) == {"other": ["all"]}
    plugins = tmp_path / "plugins" / "sinks"
    plugins.mkdir(parents=True)
    (plugins / "mine.py").write_text("def process(event_data, properties): return {}\n")
    assert tenants.judge_by(Terms({}, discover(plugins.parent)))
    assert names(tenants.tenants) == {"acme": ["a"], "other": ["all"]}
    assert tenants.judge_by(terms)  # what was good before goes on
    assert names(tenants.tenants) == {"acme": ["a"], "other": ["all"]}
    assert said(tenants.tenants.problems) == [("acme.yaml", 2, 36, "pipelines[0].sink.name")]


def test_the_main_file_names_the_folder_from_where_it_lies(
    loaded: Callable[..., Config], folder: Path
) -> None:
    config = loaded("tenants: {directory: tenants/}\n")
    assert config.tenants
    assert config.tenants.directory == folder


def test_a_folder_that_is_not_there_is_a_problem_of_the_main_file(
    problems: Callable[..., list[Problem]],
) -> None:
    [problem] = problems("tenants: {directory: nowhere}\n")
    assert (problem.path, problem.message) == ("tenants.directory", "there is no such folder")


def test_a_file_that_could_not_be_read_is_read_again(
    folder: Path, write: Write, terms: Terms, monkeypatch
) -> None:
    file = write("acme.yaml")

    def fail(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("auditflow.config.tenants.file.content_of", fail)
        patched.setattr("auditflow.config.document.content_of", fail)
        tenants = TenantFolder(folder, terms)
        assert (names(tenants.tenants), len(tenants.tenants.problems)) == ({}, 1)
        assert tenants.refresh() is False, "nothing is different"
    assert file.exists()
    assert tenants.refresh() is True
    assert (names(tenants.tenants), tenants.tenants.problems) == ({"acme": ["all"]}, ())


def test_a_change_of_permissions_is_a_change(folder: Path, write: Write, terms: Terms) -> None:
    file = write("acme.yaml")
    before = load_tenants(folder, terms).files["acme.yaml"].stamp
    file.chmod(0o640)
    assert load_tenants(folder, terms).files["acme.yaml"].stamp != before


def test_a_files_name_that_is_no_text_is_a_problem_that_can_be_shown(folder: Path, terms: Terms) -> None:
    (folder / os.fsdecode(b"caf\xe9.yaml")).write_text(sound("cafe"))
    tenants = load_tenants(folder, terms)
    [problem] = tenants.problems
    assert problem.file.encode().endswith(b"caf\\xe9.yaml")
    assert (problem.message, names(tenants)) == ("the file's name is not UTF-8", {})


def test_what_is_wrong_with_files_is_logged_once_and_when_it_is_mended(
    folder: Path, write: Write, terms: Terms, caplog
) -> None:
    caplog.set_level("INFO")
    write("acme.yaml", "tenantId: acme\npipelines: [{name: a}]\n")
    tenants = TenantFolder(folder, terms)
    tenants.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "acme.yaml:2:" in caplog.text
    write("acme.yaml")
    while not tenants.refresh():
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
