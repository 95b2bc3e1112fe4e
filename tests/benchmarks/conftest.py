import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(
    0, str(BENCHMARKS)
)  # scripts that import each other by their bare names, as when they are run
