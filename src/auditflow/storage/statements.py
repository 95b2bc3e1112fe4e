"""SQL statements by name, out of the `.sql` file beside the engine that runs them; `{name}` in one stands for the statement of that name."""
# Tested in tests/journal/sqlite/test_versions.py.

from __future__ import annotations

import re
from importlib.resources import files

_STATEMENT = re.compile(r"^-- name: (\w+)\n((?:.+\n?)+)", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_INCLUDE = re.compile(r"\{(\w+)\}")


class Statements:
    """The statements of one file: `statements.append` is the one under ``-- name: append``."""

    def __init__(self, package: str, name: str) -> None:
        text = files(package).joinpath(f"{name}.sql").read_text("utf-8")
        self._all: dict[str, str] = {}
        for key, body in _STATEMENT.findall(text):
            sql = _COMMENT.sub("", body).strip()
            self._all[key] = _INCLUDE.sub(lambda found: self._all[found[1]], sql)

    def __getattr__(self, name: str) -> str:
        try:
            return self._all[name]
        except KeyError:
            raise AttributeError(name) from None

    def schema(self) -> list[str]:
        """Give the statements that make the tables and indexes, in order."""
        return [sql for sql in self._all.values() if sql.startswith("CREATE")]
