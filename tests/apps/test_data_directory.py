import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditflow.apps import data_directory
from auditflow.apps.data_directory import DataDirectory
from auditflow.errors import DataDirectoryInUse, DataDirectoryUnusable

HOLD = """
import sys
from pathlib import Path
from auditflow.apps.data_directory import DataDirectory
DataDirectory(Path(sys.argv[1])).lock("ingest")
print("held", flush=True)
sys.stdin.read()
"""


def test_it_is_created_for_its_owner_only(tmp_path):
    old = os.umask(0o022)
    try:
        DataDirectory(tmp_path / "a" / "b").prepare()
    finally:
        os.umask(old)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_one_that_is_there_is_left_as_it_is(tmp_path):
    tmp_path.chmod(0o750)
    DataDirectory(tmp_path).prepare()
    assert tmp_path.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/auditflow"])
def test_a_path_that_cannot_be_used_is_named_with_the_way_out(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryUnusable) as caught:
        DataDirectory(tmp_path / place).prepare()
    assert str(tmp_path / place) in str(caught.value)
    assert "--data-dir" in caught.value.hint


def test_a_lock_that_cannot_be_opened_is_an_unusable_directory(tmp_path):
    (tmp_path / "ingest.lock").mkdir()
    with pytest.raises(DataDirectoryUnusable):
        DataDirectory(tmp_path).lock("ingest")


def test_a_directory_in_use_names_its_holder_and_is_free_when_that_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(data_directory, "LOCK_SECONDS", 0.1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirectoryInUse) as caught:
            DataDirectory(tmp_path).lock("ingest")
        assert f"auditflow ingest, process {holder.pid}" in str(caught.value)
        assert "--data-dir" in caught.value.hint
        os.close(DataDirectory(tmp_path).lock("delivery"))
    finally:
        holder.kill()
        holder.communicate()
    os.close(DataDirectory(tmp_path).lock("ingest"))


def test_the_lock_names_who_holds_it(tmp_path: Path):
    lock = DataDirectory(tmp_path).lock("ingest")
    assert (tmp_path / "ingest.lock").read_text() == f"auditflow ingest, process {os.getpid()}\n"
    os.close(lock)


def test_a_directory_that_others_can_write_in_or_own_is_taken_with_a_warning(tmp_path, caplog, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    DataDirectory(tmp_path / "data").prepare()
    assert "everybody may write" in caplog.text
    assert "chmod 700" in caplog.text
    caplog.clear()
    (tmp_path / "data").chmod(0o700)
    DataDirectory(tmp_path / "data").prepare()
    assert not caplog.text
    owner = (tmp_path / "data").stat().st_uid
    if owner == 0:  # else nobody can give it away, and who runs it is made another
        os.chown(tmp_path / "data", 12345, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    DataDirectory(tmp_path / "data").prepare()
    assert "belongs to the user" in caplog.text
