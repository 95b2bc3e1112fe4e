"""`auditflow aws`: what pipelines need from AWS, and what they put there."""

from auditflow.cli.aws.command import group

__all__ = ["group"]
