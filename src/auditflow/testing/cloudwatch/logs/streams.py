"""Operations on log streams: create, delete, describe."""

from __future__ import annotations

from auditflow.testing.cloudwatch.logs.state import Given, Region, Stream, page
from auditflow.testing.cloudwatch.protocol import ServiceError, invalid


def create_log_stream(region: Region, given: Given) -> Given:
    """Create a stream in an existing group."""
    group, name = region.group(given["logGroupName"]), given["logStreamName"]
    if name in group.streams:
        raise ServiceError("ResourceAlreadyExistsException", "The specified log stream already exists")
    group.streams[name] = Stream(name, f"{group.arn}:log-stream:{name}", region.now())
    return {}


def delete_log_stream(region: Region, given: Given) -> Given:
    """Delete a stream and its events."""
    region.stream(given["logGroupName"], given["logStreamName"])
    del region.groups[given["logGroupName"]].streams[given["logStreamName"]]
    return {}


def describe_log_streams(region: Region, given: Given) -> Given:
    """List streams by name or by their last event, a page at a time."""
    group, prefix = region.addressed(given), given.get("logStreamNamePrefix", "")
    by_time = given.get("orderBy") == "LastEventTime"
    if by_time and prefix:
        raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
    streams = [stream for name, stream in sorted(group.streams.items()) if name.startswith(prefix)]
    if by_time:
        streams.sort(key=lambda stream: stream.records()[-1].timestamp if stream.records() else 0)
    if given.get("descending", False):
        streams.reverse()
    return page("logStreams", [_describe_stream(stream) for stream in streams], given)


def _describe_stream(stream: Stream) -> Given:
    shown: Given = {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "arn": stream.arn,
        "storedBytes": 0,  # always, since 2019: the service counts per group only
    }
    records = stream.records()
    if records:
        shown["firstEventTimestamp"] = records[0].timestamp
        shown["lastEventTimestamp"] = records[-1].timestamp
        shown["lastIngestionTime"] = stream.last_ingestion
        shown["uploadSequenceToken"] = records[-1].event_id
    return shown
