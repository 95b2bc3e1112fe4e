import os
from dataclasses import replace
from pathlib import Path

import pytest

from auditflow.apps import data_directory
from auditflow.apps.configuration.active import IN_FORCE, ActiveConfiguration, ConfigFile
from auditflow.apps.http.listener import bind
from auditflow.apps.lifecycle import EXIT_DAMAGED
from auditflow.apps.serve import Start, _bound, _run, serve
from auditflow.config import Config
from auditflow.errors import AddressInUse, DataDirectoryInUse, JournalDamaged, OpenToAnyone, PluginNotFound
from auditflow.plugins import discover


@pytest.fixture
def start(tmp_path: Path) -> Start:
    config = Config.model_validate({"server": {"port": 0, "sink-port": 0}})
    return Start(
        config, discover(), tmp_path, lambda _role: ["false"], ConfigFile(tmp_path / "a.yaml"), b"{}", config
    )


def test_the_data_directory_is_that_of_the_command_line_then_of_the_file_then_one_here(start, tmp_path):
    elsewhere = replace(start, config=Config.model_validate({"journal": {"path": "/srv/audit"}}))
    assert elsewhere.directory.path == tmp_path
    assert replace(elsewhere, data_dir=None).directory.path == Path("/srv/audit")
    assert replace(start, data_dir=None).directory.path == Path("auditflow-data")


def test_a_busy_port_is_known_before_anything_starts_and_names_its_flag(start):
    with bind("127.0.0.1", 0, "") as busy:
        server = start.config.server.model_copy(update={"port": busy.getsockname()[1]})
        with pytest.raises(AddressInUse) as caught:
            serve(replace(start, config=start.config.model_copy(update={"server": server})), "all")
    assert "with --port" in caught.value.hint
    assert IN_FORCE not in os.environ, "it is the roles' alone"


def test_a_second_one_over_the_same_data_is_refused(start, monkeypatch):
    monkeypatch.setattr(data_directory, "LOCK_SECONDS", 0.05)
    lock = start.directory.lock("delivery")
    with pytest.raises(DataDirectoryInUse):
        serve(start, "all")
    assert ActiveConfiguration(start.directory.config, copies=True).text() is None, (
        "it has replaced the first one's configuration"
    )
    os.close(lock)


async def _end(*errors: Exception) -> None:
    if errors:
        raise ExceptionGroup("tasks", list(errors)) if len(errors) == 1 else errors[0]


def test_the_exit_status_says_that_the_data_is_damaged(caplog):
    damaged = JournalDamaged(path="journal.sqlite", reason="a page is torn")
    assert _run(lambda: _end(damaged)) == EXIT_DAMAGED
    assert "a page is torn" in caplog.text
    assert "Restart AuditFlow" in caplog.text
    assert _run(_end) == 0


def test_an_error_out_of_a_task_is_told_without_its_group():
    with pytest.raises(PluginNotFound, match="no sink named 'x'"):
        _run(lambda: _end(PluginNotFound(kind="sink", name="x", suggestion="")))


@pytest.mark.parametrize("role", ["all", "ingest", "delivery"])
@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_without_auth_nothing_but_loopback_is_listened_on(start, role, address):
    flag = "sink_host" if role == "delivery" else "host"
    server = start.config.server.model_copy(update={flag: address})
    with pytest.raises(OpenToAnyone) as refused:
        serve(replace(start, config=start.config.model_copy(update={"server": server})), role)
    hint = refused.value.hint
    assert address in str(refused.value)
    assert f"--{flag.replace('_', '-')}" in hint
    assert "`auth: {api-keys: {}}`" in hint
    assert "`auth: {insecure-allow-anyone: true}`" in hint


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_auth_by_whatever_name(host):
    config = Config.model_validate({"server": {"host": host, "port": 0}})
    with _bound(config, "ingest") as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("auth", [{"api-keys": {}}, {"insecure-allow-anyone": True}], ids=str)
def test_with_auth_or_who_says_so_loudly_any_address_will_do(auth):
    config = Config.model_validate({"server": {"host": "0.0.0.0", "port": 0}, "auth": auth})
    with _bound(config, "ingest") as listener:
        assert listener.getsockname()[1] > 0
