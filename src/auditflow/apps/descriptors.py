"""The limit on open files: raised as far as it may be, and told when it is low."""
# Tested in tests/end_to_end/test_descriptors.py.

from __future__ import annotations

import logging
import resource
from typing import Final

from auditflow.errors import TooFewFiles

ENOUGH: Final = 65_536
"""More than connections, destinations and plugins need."""
LEAST: Final = 64
"""Journal, ledger, a few destinations and ten connections."""
LOW: Final = 1_024

_log = logging.getLogger(__name__)


def raise_limit() -> None:
    """Raise the limit as far as this user may. Raises TooFewFiles when that is too low to run."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if 0 <= soft < LEAST:
        raise TooFewFiles(limit=soft, least=LEAST, enough=LOW)
    if 0 <= soft < LOW:
        _log.warning(
            "no more than %d files may be open at once, connections among them: raise that to %d or more (ulimit -n; "
            "LimitNOFILE= of systemd)",
            soft, LOW,
        )  # fmt: skip
