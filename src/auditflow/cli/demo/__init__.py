"""`auditflow demo`: the main job from end to end."""

from auditflow.cli.demo.command import run

__all__ = ["run"]
