"""The journal in memory: for tests and trials. The same contract, except that nothing survives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from auditflow.errors import JournalFull, JournalUnavailable
from auditflow.event.content import same_content
from auditflow.journal import GONE, AppendBatch, Appended, Block, Journal
from auditflow.journal.block_format import awaited, cut, pack_ids, split_ids
from auditflow.journal.group_commit import CONFLICT, GroupCommit, Suspect
from auditflow.units import readable_size


class MemoryJournal(Journal):
    """The journal as a list of blocks. `retention` and `dedup_window` are seconds, `max_size` is bytes of events."""

    def __init__(
        self,
        *,
        max_size: int = 2**30,
        retention: float = 86_400,
        dedup_window: float = 86_400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._max_size = max_size
        self._retention = int(retention * 1000)
        self._window = int(dedup_window * 1000)
        self._clock = clock
        self._blocks: list[Block] = []
        self._head = self._finished = 1
        self._places: dict[bytes, dict[str, tuple[int, int, bytes]]] = {}
        self._closed = False

    async def append(self, batch: AppendBatch) -> Appended:
        """Store the batch."""
        if self._closed:
            raise JournalUnavailable(path="memory", reason="it has been closed")
        at = int(self._clock() * 1000)
        group = GroupCommit(self._head, self, at)
        appended = group.add(batch, split_ids(pack_ids(batch.ids)))
        self._make_room(sum(map(len, group.events)))
        for part in cut(group.events) if group.events else ():
            self._store(group, part, at)
        return appended

    def head(self) -> int:
        """Give the sequence number that the next event will get."""
        return self._head

    def oldest(self) -> int:
        """Give the first retained sequence number, or `head()` when the journal is empty."""
        return self._blocks[0].first if self._blocks else self._head

    def read(self, start: int, max_bytes: int, tenant: str = "") -> list[Block]:
        """Read blocks in order, beginning with the one that holds `start` or, failing that, the next one."""
        blocks: list[Block] = []
        total = 0
        for block in self._blocks:
            if block.end > start:
                concerned = not tenant or tenant in block.tenants or block.damage
                blocks.append(block if concerned else _header(block))
                total += _size(blocks[-1])
                if total >= max_bytes:
                    break
        return blocks

    def headers(self, start: int, limit: int) -> list[Block]:
        """Give blocks as `read` does, at most `limit` of them and without their events."""
        return [_header(block) for block in self._blocks if block.end > start][:limit]

    def find(self, event_id: str) -> Iterator[int]:
        """Give the sequence numbers of the events with this id, newest first: one for each tenant that used it."""
        (key,) = split_ids(pack_ids([event_id]))
        since = int(self._clock() * 1000) - self._window
        places = self._places.get(key, {}).values()
        return iter(sorted((sequence for sequence, at, _ in places if at > since), reverse=True))

    def appended_at(self, sequence: int) -> int | None:
        """Give when the event was accepted (Unix time, milliseconds); None where it is not retained."""
        return next((b.appended_at for b in self._blocks if b.first <= sequence < b.end), None)

    def between(self, since: int, until: int) -> range:
        """Give the retained sequence numbers of the events accepted from `since` to before `until`."""
        blocks = [block for block in self._blocks if since <= block.appended_at < until]
        return range(blocks[0].first, blocks[-1].end) if blocks else range(0)

    def incidents(self) -> list[str]:
        """Give nothing: there is nothing to damage."""
        return []

    def evict(self, finished: int, now: int) -> int:
        """Drop blocks below sequence number `finished` that are older than `retention`; give how many."""
        self._finished = max(self._finished, finished)
        count = 0
        while self._evictable() and self._blocks[0].appended_at < now - self._retention:
            del self._blocks[0]
            count += 1
        return count

    def thin(self, finished: Mapping[str, int]) -> bool:
        """Drop, out of blocks that must stay, the events of tenants who are done with them; tell whether there were any."""
        changed = False
        for block in self._blocks:
            kept = awaited(block.tenants, block.end, finished)
            gone = [name for name in block.tenants if name not in kept and not name.startswith(GONE)]
            if gone:
                names = list(block.tenants)
                owners = block.owners or [0] * block.count
                pairs = zip(block.events, owners, strict=True)
                block.events = [b"" if names[owner] in gone else event for event, owner in pairs]
                block.tenants = {GONE + n if n in gone else n: count for n, count in block.tenants.items()}
                changed = True
        return changed

    def held(self, finished: Mapping[str, int]) -> dict[str, int]:
        """Give how many bytes each tenant's events take that its pipelines still await."""
        held: Counter[str] = Counter()
        for block in self._blocks:
            kept = awaited(block.tenants, block.end, finished)
            for name, count in kept.items():
                held[name] += _size(block) * count // sum(kept.values())
        return dict(held)

    def size(self) -> int:
        """Give the bytes of the events held."""
        return sum(map(_size, self._blocks))

    def close(self) -> None:
        """Refuse further appends."""
        self._closed = True

    def seen(self, keys: Sequence[bytes]) -> set[bytes]:
        """Give the ids that are known."""
        return self._places.keys() & set(keys)

    def verdicts(self, suspects: Mapping[int, Suspect]) -> dict[int, int]:
        """Give for each suspect that is known the first one's sequence number, or CONFLICT."""
        found = {}
        since = int(self._clock() * 1000) - self._window
        for index, (key, tenant, event) in suspects.items():
            sequence, at, first = self._places[key].get(tenant, (0, since, b""))
            if at > since:
                found[index] = sequence if same_content(first, event) else CONFLICT
        return found

    def _store(self, group: GroupCommit, part: slice, at: int) -> None:
        events, tenants = group.events[part], group.tenants[part]
        counts = Counter(tenants)
        places = {tenant: place for place, tenant in enumerate(counts)}
        owners = [places[tenant] for tenant in tenants] if len(counts) > 1 else []
        self._blocks.append(
            Block(self._head, len(events), at, counts, events, times=group.times[part], owners=owners)
        )
        for key, tenant, event in zip(group.keys[part], tenants, events, strict=True):
            self._places.setdefault(key, {})[tenant] = self._head, at, event
            self._head += 1

    def _make_room(self, need: int) -> None:
        if need > self._max_size - self.size() + sum(
            _size(b) for b in self._blocks if b.end <= self._finished
        ):
            raise JournalFull(size=readable_size(self.size()), limit=readable_size(self._max_size))
        while self.size() + need > self._max_size:
            del self._blocks[0]

    def _evictable(self) -> bool:
        return bool(self._blocks) and self._blocks[0].end <= self._finished


def _header(block: Block) -> Block:
    return Block(block.first, block.count, block.appended_at, block.tenants, ())


def _size(block: Block) -> int:
    return sum(map(len, block.events))
