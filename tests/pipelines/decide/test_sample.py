import subprocess
import sys
from uuid import uuid4

from auditflow.pipelines.decide.sample import keeps

IDS = [str(uuid4()) for _ in range(20_000)]


def test_the_share_that_is_kept_is_the_rate() -> None:
    for rate in (0.01, 0.25, 0.9):
        kept = sum(map(keeps(rate), IDS)) / len(IDS)
        assert abs(kept - rate) < 0.02


def test_rate_0_keeps_nothing_and_rate_1_keeps_everything() -> None:
    assert not any(map(keeps(0.0), IDS))
    assert all(map(keeps(1.0), IDS))


def test_an_event_kept_at_a_low_rate_is_kept_at_every_higher_one() -> None:
    low, high = keeps(0.1), keeps(0.5)
    assert all(high(event_id) for event_id in IDS if low(event_id))


def test_text_and_bytes_of_an_id_give_the_same_answer() -> None:
    kept = keeps(0.5)
    assert all(kept(event_id) == kept(event_id.encode()) for event_id in IDS[:1000])


def test_another_process_keeps_the_same_events() -> None:
    script = "import sys; from auditflow.pipelines.decide.sample import keeps; print(*map(keeps(0.3), sys.argv[1:]))"
    answer = subprocess.run(
        [sys.executable, "-c", script, *IDS[:50]], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == [str(keeps(0.3)(event_id)) for event_id in IDS[:50]]


def test_ids_that_count_upwards_are_sampled_evenly() -> None:
    ids = [f"01890a5d-ac96-774b-bcce-{number:012x}" for number in range(10_000)]
    assert 900 < sum(map(keeps(0.1), ids)) < 1100
