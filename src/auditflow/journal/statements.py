"""SQL statements by name, out of the files in `sql/`."""

from __future__ import annotations

import re
from importlib.resources import files

_STATEMENT = re.compile(r"^-- name: (\w+)\n((?:.+\n?)+)", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


class Statements:
    """The statements of one file: `statements.append` is the one under ``-- name: append``."""

    def __init__(self, name: str) -> None:
        text = files("auditflow.journal").joinpath("sql", f"{name}.sql").read_text("utf-8")
        self._all = {name: _COMMENT.sub("", body).strip() for name, body in _STATEMENT.findall(text)}

    def __getattr__(self, name: str) -> str:
        try:
            return self._all[name]
        except KeyError:
            raise AttributeError(name) from None

    def schema(self) -> list[str]:
        """Give the statements that make the tables and indexes, in order."""
        return [sql for sql in self._all.values() if sql.startswith("CREATE")]
