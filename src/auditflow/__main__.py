"""``python -m auditflow`` is ``auditflow``."""

from auditflow.cli import main

main()
