"""The docs say what the code does: generated parts are fresh, examples are valid, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from auditflow.config import Terms, load, load_tenants
from auditflow.plugins import discover

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_generated_docs_are_fresh():
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/*.yaml")), ids=lambda path: path.name)
def test_an_example_is_a_valid_configuration(example: Path):
    assert load(example, {}).pipelines


def test_every_pipeline_in_the_docs_is_a_valid_configuration(tmp_path: Path):
    catalogue = discover(ROOT / "examples" / "plugins")
    (tmp_path / "tenants").mkdir()
    checked = 0
    for page in PAGES:
        for number, block in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        ):
            if re.search(r"^tenantId:", block, re.MULTILINE):
                (tmp_path / f"{page.stem}-{number}").mkdir()
                (tmp_path / f"{page.stem}-{number}" / "tenant.yaml").write_text(block)
                tenants = load_tenants(tmp_path / f"{page.stem}-{number}", Terms({}, catalogue))
                assert (len(tenants.by_id), tenants.problems) == (1, ())
            elif re.search(r"^pipelines:", block, re.MULTILINE):
                file = tmp_path / f"{page.stem}-{number}.yaml"
                file.write_text(block)
                assert load(
                    file,
                    {
                        "ACCOUNT_ID": "1",
                        "AWS_ACCESS_KEY_ID": "a",
                        "AWS_SECRET_ACCESS_KEY": "b",
                        "GATEWAY_SECRET": "0" * 32,
                        "AUDITFLOW_REDACTION_KEY": "a key for the docs",
                    },
                    catalogue,
                ).pipelines
                checked += 1
    assert checked >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_sink_has_a_page():
    for entry in discover().sinks.values():
        assert (ROOT / "docs" / "sinks" / f"{entry.name}.md").exists(), entry.name


def test_every_page_installs_the_package_that_is_ours():
    """On PyPI, `auditflow` is somebody else's."""
    for page in [*PAGES, *ROOT.glob("src/**/*.py"), *ROOT.glob("deploy/**/*.*")]:
        wrong = re.search(
            r"pip install [^\n`]*\bauditflow(?!-server\b)\b(?=[\[`'\" ]|$)|\bauditflow\[\w+\]",
            page.read_text(),
        )
        assert not wrong, f"{page.name}: {wrong[0]}"
