"""The environment as it was meant: a Kubernetes Secret made with `echo` gives every variable a line end at its end."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from auditflow.outside_text import without_line_end


def tidy(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take the line ends at the end of every variable away, for libraries, which read some by themselves, too."""
    for name, value in list(environ.items()):
        if value != without_line_end(value):
            environ[name] = without_line_end(value)
