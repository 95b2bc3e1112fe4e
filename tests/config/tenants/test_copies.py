"""Copies of the tenants' files: what a start goes by where a file is broken."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from auditflow.config import TenantCopies, TenantFolder, Terms
from auditflow.plugins import discover


def sound(tenant: str, pipeline: str) -> str:
    return f"tenantId: {tenant}\npipelines:\n  - {{name: {pipeline}, sink: {{name: logging_sink}}}}\n"


@pytest.fixture
def terms() -> Terms:
    return Terms({}, discover())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tenants").mkdir()
    return tmp_path / "tenants"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tenants"


def started(folder: Path, terms: Terms, kept: Path, *, writes: bool = True) -> TenantFolder:
    return TenantFolder(folder, terms, TenantCopies(kept, writes=writes))


def names(tenants: TenantFolder) -> dict[str, list[str]]:
    return {tenant: [each.name for each in says.pipelines] for tenant, says in tenants.tenants.by_id.items()}


def test_a_file_that_is_broken_at_the_start_goes_on_as_it_was_last_good(folder, terms, kept):
    (folder / "acme.yaml").write_text(sound("acme", "first"))
    tenants = started(folder, terms, kept)
    (folder / "acme.yaml").write_text(sound("acme", "second"))
    assert [tenants.refresh(), tenants.refresh()] == [False, True]
    (folder / "acme.yaml").write_text("tenantId: [")
    again = started(folder, terms, kept)
    assert names(again) == {"acme": ["second"]}
    assert {problem.file for problem in again.tenants.problems} == {str(folder / "acme.yaml")}
    assert names(started(folder, terms, kept, writes=False)) == {"acme": ["second"]}, "the other role agrees"
    assert names(started(folder, terms, kept)) == {"acme": ["second"]}, "a broken file is not copied"


def test_what_the_files_say_now_counts_more_than_their_copies(folder, terms, kept):
    (folder / "acme.yaml").write_text(sound("acme", "first"))
    (folder / "gone.yaml").write_text(sound("gone", "all"))
    started(folder, terms, kept)
    (folder / "acme.yaml").write_text(sound("acme", "second"))
    (folder / "gone.yaml").unlink()
    again = started(folder, terms, kept)
    assert (names(again), again.tenants.problems) == ({"acme": ["second"]}, ())
    assert [path.name for path in kept.iterdir()] == ["acme.yaml"]


def test_a_folder_that_is_away_at_the_start_takes_no_tenant_with_it(folder, terms, kept):
    (folder / "acme.yaml").write_text(sound("acme", "all"))
    started(folder, terms, kept)
    folder.rename(folder.parent / "away")
    again = started(folder, terms, kept)
    assert names(again) == {"acme": ["all"]}
    assert again.tenants.problems
    assert [path.name for path in kept.iterdir()] == ["acme.yaml"]


def test_copies_are_for_their_owner_alone_and_only_one_role_writes_them(folder, terms, kept):
    (folder / "acme.yaml").write_text(sound("acme", "all"))
    started(folder, terms, kept, writes=False)
    assert not kept.exists()
    started(folder, terms, kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()] == [0o600]


def test_copies_that_cannot_be_written_keep_nobody_from_starting(folder, terms, kept, caplog):
    (folder / "acme.yaml").write_text(sound("acme", "all"))
    kept.parent.write_text("in the way")
    assert names(started(folder, terms, kept)) == {"acme": ["all"]}
    assert "are not copied" in caplog.text
