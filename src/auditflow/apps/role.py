"""``python -m auditflow.apps.role``: one role under the supervisor, which has read the command line already."""
# Tested in tests/apps/test_serve.py.

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from auditflow.apps.configuration.active import IN_FORCE, ConfigFile
from auditflow.apps.descriptors import raise_limit
from auditflow.apps.serve import RoleName, Start, serve
from auditflow.errors import AuditFlowError
from auditflow.masking import VARIABLES, hide, hide_within
from auditflow.telemetry import logs


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `auditflow serve` was asked for, as it goes on to the roles."""

    config: str
    role: RoleName = "all"
    data_dir: str | None = None
    plugins: str | None = None
    host: str | None = None
    port: int | None = None
    sink_host: str | None = None
    sink_port: int | None = None
    log_level: str = "info"
    log_format: logs.Style = "text"

    def run(self) -> int:
        """Run until stopped; give the exit status. Raises AuditFlowError when it cannot start."""
        logs.configure(self.log_level, self.log_format, "serve" if self.role == "all" else self.role)
        if IN_FORCE not in os.environ:  # a role under a supervisor has the supervisor's
            raise_limit()
        return serve(self._start(), self.role)

    def _start(self) -> Start:
        file = ConfigFile(Path(self.config), Path(self.plugins) if self.plugins else None)
        copy = ConfigFile(Path(os.environ[IN_FORCE])).read() if IN_FORCE in os.environ else None
        text = copy if copy is not None else file.read()
        loaded, catalogue = file.load(text)
        hide_within(loaded)
        hide(filter(None, map(os.environ.get, VARIABLES)))
        given = {
            "host": self.host,
            "port": self.port,
            "sink_host": self.sink_host,
            "sink_port": self.sink_port,
        }
        server = loaded.server.model_copy(
            update={n: value for n, value in given.items() if value is not None}
        )
        data_dir = Path(self.data_dir) if self.data_dir else None
        in_place = loaded.model_copy(update={"server": server})
        return Start(in_place, catalogue, data_dir, self.command, file, text or b"", loaded)

    def command(self, role: RoleName) -> list[str]:
        """Give the command line of a role. It is short of the command line's own start-up, half a second."""
        asked = msgspec.json.encode(msgspec.structs.replace(self, role=role)).decode()
        return [sys.executable, "-m", "auditflow.apps.role", "--role", role, asked]


def main() -> None:
    """Run the role that the supervisor asks for."""
    try:
        sys.exit(msgspec.json.decode(sys.argv[-1], type=Options).run())
    except AuditFlowError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.exit(f"auditflow: {error}{hint}")


if __name__ == "__main__":
    main()
