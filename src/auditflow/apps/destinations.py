"""The destinations of a process: one for all pipelines that share sink and properties."""
# Tested in tests/apps/test_delivery.py.

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from auditflow.config import SinkChoice
from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.dispatcher import DeliveryTarget
from auditflow.sinks._base import Sink


class Destinations:
    """Those in use."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[tuple[SinkChoice, Destination]]] = defaultdict(list)
        """By name of the sink and what its properties show, which may be the same though secrets differ."""

    def of(self, choice: SinkChoice, create: Callable[[], Sink[Any]]) -> Destination:
        """Give the destination of a sink with these properties; `create` makes the sink where there is none yet."""
        alike = self._known[choice.name, repr(choice.properties)]
        for other, destination in alike:
            if other.properties == choice.properties:
                return destination
        destination = Destination(create())
        alike.append((choice, destination))
        return destination

    async def keep(self, targets: Iterable[DeliveryTarget]) -> None:
        """Close those that none of the targets uses."""
        used = set()
        for target in targets:
            used.add(id(target.destination))
            if target.fallback:
                used.add(id(target.fallback.destination))
        unused = []
        for key, alike in list(self._known.items()):
            unused += [destination for _, destination in alike if id(destination) not in used]
            self._known[key] = [each for each in alike if id(each[1]) in used]
            if not self._known[key]:
                del self._known[key]
        await asyncio.gather(*(destination.close() for destination in unused))
