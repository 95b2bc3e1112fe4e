from collections.abc import Callable
from pathlib import Path

import pytest

from auditflow.config import Config, Problem
from auditflow.config.model import SecretsConfig
from auditflow.config.tenants.file import Terms
from auditflow.config.tenants.folder import Tenants, load_tenants
from auditflow.plugins import Catalogue
from auditflow.secrets.references import Sealed

Write = Callable[..., None]


@pytest.fixture
def terms(catalogue: Catalogue) -> Terms:
    return Terms({"HOST": "example.com"}, catalogue)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a tenant's file whose pipeline uses these secrets."""

    def write(tenant: str, *keys: str) -> None:
        headers = "".join(f"X-{key}: '${{secretRef:{key}}}', " for key in keys)
        text = f"tenantId: {tenant}\npipelines:\n- {{name: all, sink: {{name: webhook_sink, properties: {{webhook-url: 'https://x', headers: {{{headers}}}}}}}}}\n"
        file = tmp_path / f"{tenant}.yaml"
        file.unlink(missing_ok=True)
        file.write_text(text)

    return write


def clashes(tenants: Tenants) -> list[tuple[str, str]]:
    return [(Path(problem.file).stem, problem.message) for problem in tenants.problems]


def test_a_tenants_pipelines_use_the_tenants_own_secrets_in_sink_and_fallback(
    tmp_path: Path, terms: Terms
) -> None:
    (tmp_path / "acme.yaml").write_text(
        """\
tenantId: acme
pipelines:
  - name: all
    sink:
      name: webhook_sink
      properties: {webhook-url: "https://${HOST}/${secretRef:path}", headers: {Authorization: "Bearer ${secretRef:token}"}}
      fallback: {name: aws_cloudwatch_sink, properties: {log-group: /g, access-key-id: "${secretRef:id}", secret-access-key: "${secretRef:key}"}}
"""
    )
    tenants = load_tenants(tmp_path, terms)
    assert tenants.problems == ()
    [(_, pipeline)] = tenants.pipelines()
    assert pipeline.sink.fallback
    first, second = pipeline.sink.properties, pipeline.sink.fallback.properties
    assert isinstance(first, Sealed)
    assert isinstance(second, Sealed)
    assert (first.tenant, first.keys, second.keys) == ("acme", ("path", "token"), ("id", "key"))
    assert first.filled({"path": "p", "token": "t"})["webhook-url"] == "https://example.com/p"


def test_pipelines_of_the_main_file_use_the_secrets_of_the_platform(loaded: Callable[..., Config]) -> None:
    config = loaded(
        "pipelines: [{name: a, sink: {name: webhook_sink, properties: {webhook-url: '${secretRef:url}'}}}]"
    )
    properties = config.pipelines[0].sink.properties
    assert isinstance(properties, Sealed)
    assert properties.tenant == "_platform"


def test_a_secret_can_stand_in_properties_only(problems: Callable[..., list[Problem]]) -> None:
    found = problems(
        """\
        pipelines:
          - name: ${secretRef:a}
            condition: {rules: [{field: x, operator: eq, value: "${secretRef:b}"}]}
            transformer: {name: zero, properties: {x: "${secretRef:c}"}}
            sink: {name: "${secretRef:d}", properties: "${secretRef:e}"}
        server: {port: "${secretRef:f}"}
        """
    )
    assert [(each.line, each.path) for each in found] == [
        (2, "pipelines[0].name"),
        (3, "pipelines[0].condition.rules[0].value"),
        (4, "pipelines[0].transformer.properties.x"),
        (5, "pipelines[0].sink.name"),
        (5, "pipelines[0].sink.properties"),
        (6, "server.port"),
    ]
    assert {each.message for each in found} == {"a secret can only stand in a property of a sink"}


def test_everything_beside_a_secret_is_checked_with_its_place(problems: Callable[..., list[Problem]]) -> None:
    [unknown] = problems(
        "pipelines:\n- {name: a, sink: {name: webhook_sink, properties: {webhook-url: '${secretRef:u}', secrt: x}}}\n"
    )
    assert (unknown.line, unknown.path) == (2, "pipelines[0].sink.properties.secrt")
    assert unknown.hint == "did you mean secret?"


def test_secrets_are_in_one_place(
    problems: Callable[..., list[Problem]], loaded: Callable[..., Config]
) -> None:
    [problem] = problems("secrets: {directory: s, aws-secrets-manager: {}}\n")
    assert (problem.path, problem.hint) == ("secrets.aws-secrets-manager", "keep one of the two")
    config = loaded("secrets: {aws-secrets-manager: {prefix: prod/, region: eu-central-1}}\n")
    assert config.secrets.aws_secrets_manager
    assert config.secrets.aws_secrets_manager.prefix == "prod/"


def test_tenants_with_different_variables_do_not_clash(tmp_path: Path, write: Write, terms: Terms) -> None:
    write("a", "b", "c_d")
    write("ab", "b")
    write("a.b.c", "d")
    assert clashes(load_tenants(tmp_path, terms)) == []


def test_of_two_tenants_with_the_same_variables_the_first_has_them(
    tmp_path: Path, write: Write, terms: Terms
) -> None:
    write("a_b", "key")
    before = load_tenants(tmp_path, terms)
    write("a-b", "other")
    after = load_tenants(tmp_path, terms, before)
    assert list(after.by_id) == ["a_b"]
    assert clashes(after) == [("a-b", "AUDITFLOW_TENANT_A_B_OTHER could hold a secret of tenant a_b, too")]
    [problem] = after.problems
    assert (problem.line, problem.path) == (3, "pipelines[0].sink.properties.headers.X-other")
    assert list(load_tenants(tmp_path, terms).by_id) == ["a-b"]


def test_tenants_without_secrets_have_no_variables_to_clash(
    tmp_path: Path, write: Write, terms: Terms
) -> None:
    write("a-b", "key")
    write("a_b")
    assert clashes(load_tenants(tmp_path, terms)) == []


def test_a_key_that_continues_the_name_of_a_longer_tenant_is_refused(
    tmp_path: Path, write: Write, terms: Terms
) -> None:
    write("a", "b_key")
    write("a-b")
    assert clashes(load_tenants(tmp_path, terms)) == [
        ("a", "AUDITFLOW_TENANT_A_B_KEY could hold a secret of tenant a-b, too")
    ]


def test_a_new_tenant_does_not_get_the_variable_that_another_one_uses(
    tmp_path: Path, write: Write, terms: Terms
) -> None:
    write("a", "b_key")
    before = load_tenants(tmp_path, terms)
    write("a-b", "key")
    after = load_tenants(tmp_path, terms, before)
    assert list(after.by_id) == ["a"]
    assert [file for file, _ in clashes(after)] == ["a-b", "a"]


def test_secrets_in_files_do_not_clash(tmp_path: Path, write: Write, catalogue: Catalogue) -> None:
    write("a_b", "key")
    write("a-b", "key")
    terms = Terms({}, catalogue, secrets=SecretsConfig.model_validate({"directory": "/secrets"}))
    assert clashes(load_tenants(tmp_path, terms)) == []
