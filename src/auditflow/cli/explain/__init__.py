"""`auditflow explain`: what would become of an event, and why."""

from auditflow.cli.explain.command import run

__all__ = ["run"]
