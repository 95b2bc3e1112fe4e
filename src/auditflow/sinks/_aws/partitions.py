"""The parts of AWS that know nothing of each other (China, GovCloud, …), as botocore's own data has them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

COMMERCIAL: Final = "aws"


@cache
def partition_of(region: str) -> str:
    """Give what the ARNs of a region begin with: ``aws``, ``aws-cn``, …; that of most customers for one nobody knows."""
    for data in _known():
        if region in data["regions"] or re.fullmatch(data["regionRegex"], region):
            return str(data["id"])
    return COMMERCIAL


@cache
def _known() -> list[dict[str, Any]]:
    """Read botocore's file without importing botocore; nothing where it is not installed."""
    spec = find_spec("botocore")
    places = spec.submodule_search_locations if spec else None
    if not places:
        return []
    data = json.loads(Path(places[0], "data", "partitions.json").read_text("utf-8"))
    return list(data["partitions"])
