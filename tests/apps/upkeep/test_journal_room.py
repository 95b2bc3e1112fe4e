import pytest

from auditflow.apps.upkeep.journal_room import crowding


@pytest.mark.parametrize(
    ("held", "crowds"),
    [
        ({}, set()),
        ({"a": 400}, set()),
        ({"a": 500}, {"a"}),
        ({"a": 450, "b": 300}, set()),
        ({"a": 450, "b": 350}, {"a"}),
        ({"a": 400, "b": 400}, {"a", "b"}),
        ({"a": 790, "b": 5, "c": 5}, {"a"}),
        ({"a": 490, "b": 300, "c": 10}, {"a", "b"}),
    ],
)
def test_over_its_share_is_half_the_journal_or_in_a_crowd_more_than_the_average(held, crowds):
    assert crowding(held, 1000).keys() == crowds
