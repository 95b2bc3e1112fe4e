"""Delivers events to Amazon CloudWatch Logs, one message per event."""

from auditflow.sinks.aws_cloudwatch_sink.sink import CloudWatchSink

__all__ = ["CloudWatchSink"]
