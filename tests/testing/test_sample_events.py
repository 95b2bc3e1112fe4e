import json
from datetime import UTC, datetime
from itertools import islice

from auditflow.ingest.decode import decode
from auditflow.ingest.limits import Limits
from auditflow.ingest.stamp import Stamp
from auditflow.testing.sample_events import sample_events

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_same_seed_gives_the_same_events():
    first, again = (list(islice(sample_events(7, START), 50)) for _ in range(2))
    assert first == again
    assert first != list(islice(sample_events(8, START), 50))


def test_the_server_takes_every_one_and_time_only_moves_on():
    events = list(islice(sample_events(), 500))
    raws = [json.dumps(event).encode() for event in events]
    assert not decode(raws, Stamp("2026-01-31T12:00:00Z", "x"), Limits()).rejected
    times = [datetime.fromisoformat(event["eventTime"]) for event in events]
    assert times == sorted(times)
