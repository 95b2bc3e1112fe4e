import pytest
from pydantic import ValidationError

from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.settings import faults


def test_without_a_word_delivery_holds_on_for_seven_days() -> None:
    policy = DeliveryPolicy()
    assert (policy.max_attempts, policy.max_age, policy.when_blocked, policy.max_in_flight) == (
        None, 7 * 24 * 3600, "hold", 4,
    )  # fmt: skip


def test_a_policy_is_written_in_kebab_case_with_units_and_texts() -> None:
    policy = DeliveryPolicy.model_validate(
        {
            "max-attempts": "5",
            "max-age": "90m",
            "when-blocked": "dead-letter",
            "max-in-flight": 1,
            "rate": "0.5",
            "fallback-after": "5m",
        }
    )
    assert (policy.max_attempts, policy.max_age, policy.when_blocked, policy.max_in_flight) == (
        5, 5400.0, "dead-letter", 1,
    )  # fmt: skip
    assert (policy.rate, policy.fallback_after) == (0.5, 300.0)


@pytest.mark.parametrize(
    "given",
    [
        {"max-attempts": 0},
        {"max-age": "0s"},
        {"max-age": "soon"},
        {"when-blocked": "drop"},
        {"max-in-flight": 0},
        {"fallback-after": "soon"},
        {"rate": 0},
        {"fall-back-after": "1m"},
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as raised:
        DeliveryPolicy.model_validate(given)
    assert [fault.where for fault in faults(raised.value)] == [tuple(given)]
