"""The journal: what has been accepted, in order, and what became of it.

Invariants
----------
J1  `Journal.append` returns only when the block is durable: an acknowledged event survives kill -9 and
    power loss. Publishes that wait at the same time share one block and one fsync.
J2  Every event has a sequence number; numbers start at 1 and have no gaps.
J3  An event is unique by (tenant, event id) inside the deduplication window. A repeat is reported with the
    first one's sequence number; the same id with other content is a conflict, and is not stored.
J4  A pipeline's progress, its counters and its dead letters change in one transaction of the `Ledger`.
J5  Opening succeeds after any crash or damage: a torn tail is recovered, what cannot be read is set aside,
    reported and counted, and sequence numbers are never used twice.
J6  At `max-size` append raises JournalFull. What an active pipeline has not finished is never evicted;
    what all have finished stays for `retention`, or until its room is needed. Then a block that only some
    tenants still await is written anew with theirs alone: their backlog holds nobody else's events.
J7  Blocks are read whole and carry tenants and count, so that a reader can skip them without decoding. An event
    that nobody can tell the tenant of any more, because it is lost, is accounted for by every pipeline.
J8  Every implementation passes the contract suites `auditflow.testing.contracts.journal`; ledgers, `….ledger`.

Two stores, because they have two writers: the ingest process appends to the journal, the delivery process
writes the ledger, and neither ever waits for the other's lock (docs/decisions/0002-two-files.md).

On disk
-------
Two SQLite files in WAL mode with synchronous=FULL and pages of 4096 bytes. Their tables, and every statement on
them, are in `journal/sqlite/journal.sql` and `ledger/sqlite/ledger.sql`. `user_version` is the version of their
layout: a later one is refused by name and left as it is.

``journal.sqlite``       `block`: one row per block, at most 10,000 events or 4 MiB; payload = the events' times,
                         their tenants when there are several, and the events joined by newlines, deflated; crc32
                         over header, tenants and payload. A row without payload stands for lost events; a tenant
                         whose name begins with a slash, for events that made room. `ids`:
                         16 bytes per event, joined into large rows; they outlive their block.
``journal.sqlite-mark``  The next sequence number and the first not evicted, unflushed: what was lost when the
                         file is.
``ledger.sqlite``        `pipeline`: one row each, progress as `low` and a little-endian bit map, guarded by crc32.
                         `letter`: dead letters, also while they are delivered again. `receipt`: where one call of a
                         sink has delivered, one row however many events. `lane`: ranges of the journal that are
                         replayed.
``*-damaged``            A note of damage met in use; the next start recovers.
``*.damaged-<time>``     What recovery set aside (Unix time); kept until somebody deletes it.

Where to look
-------------
`contract` is what every journal does; `sqlite` and `memory` are its engines; `block_format` is how a block is
written; `group_commit` finds repeats among what is appended together. `auditflow.ledger` keeps what became of
events; `auditflow.storage` is what both share of SQLite.
"""

from __future__ import annotations

from auditflow.journal.contract import GONE, AppendBatch, Appended, Block, Journal

__all__ = ["GONE", "AppendBatch", "Appended", "Block", "Journal"]
