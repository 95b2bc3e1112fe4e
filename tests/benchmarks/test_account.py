import account


def test_a_stack_counts_for_the_innermost_function_of_ours_and_threads_that_wait_are_left_out():
    stacks = [
        "<module> (auditflow/__main__.py:3);split (src/auditflow/ingest/body.py:85);loads (json/__init__.py:3) 30",
        "<module> (auditflow/__main__.py:3);split (src/auditflow/ingest/body.py:85) 10",
        "<module> (auditflow/__main__.py:3) 40",
        "_bootstrap (threading.py:1002);wait (threading.py:327) 1000",
    ]
    first, second = sorted(account.table(stacks, cost=8.0))
    assert "4.00 us  50.0%" in first
    assert {"__main__.py" in line for line in (first, second)} == {True, False}
    (split,) = (line for line in (first, second) if "ingest/body.py split" in line)
    assert "__init__.py:3 75%" in split
