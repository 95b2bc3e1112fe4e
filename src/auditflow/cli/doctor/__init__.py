"""`auditflow doctor`: has every pipeline its secrets and a way to its sink."""

from auditflow.cli.doctor.command import run

__all__ = ["run"]
