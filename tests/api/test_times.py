import pytest
from pydantic import TypeAdapter, ValidationError

from auditflow.api.times import Time, rfc3339

read = TypeAdapter(Time).validate_python


@pytest.mark.parametrize("given", ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00"])
def test_a_time_has_its_zone(given):
    assert rfc3339(int(read(given).timestamp() * 1000)) == "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize(
    "given", ["0.5", "1767225600", 1767225600, 0.5, True, "2026-01-31T12:00:00", "now", ""]
)
def test_a_number_is_no_time(given):
    with pytest.raises(ValidationError):
        read(given)
