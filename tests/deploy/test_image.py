"""The Dockerfile. No Docker engine is needed: what it runs is run here, in a folder that stands for the image."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "deploy" / "container"
USER = 10001


def instructions(stage: str) -> list[tuple[str, str]]:
    """Give a stage's instructions, as keyword and the rest."""
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]
    start = next(i for i, (word, rest) in enumerate(found) if word == "FROM" and rest.endswith(f"AS {stage}"))
    following = [i for i, (word, _) in enumerate(found) if word == "FROM" and i > start]
    return found[start + 1 : following[0] if following else None]


def instruction(stage: str, keyword: str) -> str:
    (rest,) = [rest for word, rest in instructions(stage) if word == keyword]
    return rest


def interpreter() -> Path:
    """Give a Python that the image's user can run: one in somebody's home directory is not."""
    candidates = [Path(sys.executable).resolve(), Path("/usr/bin/python3").resolve()]
    for candidate in candidates:
        if os.getuid() or all(folder.stat().st_mode & 0o001 for folder in candidate.parents):
            return candidate
    pytest.skip("every Python of this machine is in a place that only root can enter")


class Image:
    """Folders that stand for the file system of the image, and what its build stages do to them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        base = root / "usr" / "local"  # the base image
        subprocess.run([interpreter(), "-m", "venv", base], check=True)
        self.environment = {"PATH": f"{base}/bin:{os.environ['PATH']}"}

    def here(self, text: str) -> str:
        """Put the image's paths where the image is."""
        return re.sub(r"(?<![\w.~])/(?=(opt|build|data|etc|tmp)\b)", f"{self.root}/", text)

    def build(self, stage: str) -> None:
        for keyword, rest in instructions(stage):
            if keyword == "ENV":
                self._set(rest)
            elif keyword == "COPY" and not rest.startswith("--from"):
                *sources, target = rest.split()
                for source in sources:
                    self._copy(source, Path(self.here(target)))
            elif keyword == "RUN":
                command = ["sh", "-ec", self.here(rest)]
                done = subprocess.run(
                    command, env=os.environ | self.environment, check=False, capture_output=True
                )
                assert done.returncode == 0, done.stderr.decode()

    def _set(self, assignments: str) -> None:
        for assignment in shlex.split(assignments):
            name, _, value = assignment.partition("=")
            self.environment[name] = self.here(value).replace("$PATH", self.environment["PATH"])

    def _copy(self, source: str, target: Path) -> None:
        assert admitted(source), f"{source} is kept out of the build by Dockerfile.dockerignore"
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)


def admitted(source: str) -> bool:
    """Tell whether .dockerignore lets a path into the build: its last pattern that fits decides."""
    verdict = True
    for pattern in (CONTAINER / "Dockerfile.dockerignore").read_text().split("\n"):
        plain = pattern.removeprefix("!")
        if plain and not plain.startswith("#") and fnmatch.fnmatch(source, plain):
            verdict = pattern.startswith("!")
    return verdict


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Build what the image has, at a place that any user can enter."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        image = Image(root)
        image.build("build")
        for keyword, rest in instructions("runtime"):
            if keyword == "ENV":
                image._set(rest)
        data, config = root / "data", root / "etc" / "auditflow"
        data.mkdir(mode=0o700)
        (root / "tmp").mkdir()
        config.mkdir(parents=True)
        (config / "auditflow.yaml").write_text(
            "auth: {api-keys: {}}\npipelines: [{name: log, sink: {name: logging_sink}}]\n"
        )
        if os.getuid() == 0:
            shutil.chown(data, USER, USER)
        yield image


def test_hadolint_finds_nothing_to_complain_about():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = subprocess.run([hadolint, CONTAINER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_a_numeric_user_without_rights():
    assert instruction("runtime", "USER") == f"{USER}:{USER}"
    text = (CONTAINER / "Dockerfile").read_text()
    *_, last = re.findall(r"^FROM .*$", text, re.MULTILINE)
    assert last == "FROM runtime"
    assert "USER" not in text[text.index(last) :]


def test_only_data_is_declared_as_written():
    assert instruction("runtime", "VOLUME") == "/data"
    assert "PYTHONDONTWRITEBYTECODE=1" in instruction("runtime", "ENV")


def test_the_sink_service_is_not_exposed():
    assert instruction("runtime", "EXPOSE") == "8080"
    assert "SINK_HOST" not in (CONTAINER / "Dockerfile").read_text()


def test_every_download_of_a_dependency_is_checked_against_its_hash():
    commands = [rest for stage in ("build", "awscli") for word, rest in instructions(stage) if word == "RUN"]
    installs = [part for command in commands for part in command.split("&&") if "pip install" in part]
    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-deps" in part for part in installs)


def test_nothing_but_the_sources_gets_into_the_build():
    assert all(admitted(path) for path in ("src", "pyproject.toml", "requirements/runtime.txt"))
    assert not any(
        admitted(path) for path in (".git", ".venv", "tests", "auditflow-data", ".env", "src/a/__pycache__")
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def snapshot(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_relative_to(root / "data")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_the_image_holds_runs_is_healthy_and_writes_nothing_but_data(image: Image):
    ports = {"AUDITFLOW_PORT": str(free_port()), "AUDITFLOW_SINK_PORT": str(free_port())}
    environment = image.environment | ports
    who = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
    entrypoint, command = (json.loads(instruction("runtime", word)) for word in ("ENTRYPOINT", "CMD"))
    program = shutil.which(entrypoint[0], path=environment["PATH"])
    health = json.loads(instruction("runtime", "HEALTHCHECK").partition("CMD")[2])
    workdir = image.here(instruction("runtime", "WORKDIR"))
    before = snapshot(image.root)

    def healthy(**more: str) -> bool:
        done = subprocess.run(
            health, env=environment | more, cwd=workdir, capture_output=True, check=False, **who
        )
        return done.returncode == 0

    assert program.startswith(str(image.root)), "the entry point is not the image's own"
    with subprocess.Popen([program, *command], env=environment, cwd=workdir, **who) as process:
        deadline = time.monotonic() + 60
        while not (healthy() and healthy(AUDITFLOW_ROLE="delivery")):
            assert process.poll() is None
            assert time.monotonic() < deadline, "it never became healthy"
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    assert not healthy()
    assert (image.root / "data" / "journal.sqlite").exists()
    assert snapshot(image.root) == before
