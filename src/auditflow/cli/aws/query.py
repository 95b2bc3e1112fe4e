"""Runs Logs Insights queries over the log groups of pipelines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import typer

from auditflow.cli.aws.logs import ALL_GROUPS, Source, is_missing
from auditflow.errors import LogsUnreadable, QueryUnfinished, did_you_mean

MAX_GROUPS: Final = 50
"""Log groups of one query (StartQuery API reference)."""
MAX_ROWS: Final = 10_000
"""Rows of one query's result (StartQuery API reference)."""
PAUSE: Final = 0.5
"""Seconds between two looks at a query that runs."""

Row = dict[str, str]


def _as_they_are(rows: list[Row]) -> list[Row]:
    return rows


def _newest_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.get("@timestamp", ""), reverse=True)


def _by_actor(rows: list[Row]) -> list[Row]:
    """Add up what each region and account counts for the same actor."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["extra.userId"]] = counts.get(row["extra.userId"], 0) + int(row["events"])
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    return [{"extra.userId": actor, "events": str(count)} for actor, count in ordered]


def _more_than_once(rows: list[Row]) -> list[Row]:
    """Keep what is there more often than the parts it was split into; a query cannot compare two fields here."""
    again = [row for row in rows if int(row["copies"]) > int(row.get("parts", "0"))]
    return sorted(again, key=lambda row: -int(row["copies"]))


class Question(NamedTuple):
    """A query, and how its results from several places become one."""

    text: str
    merged: Callable[[list[Row]], list[Row]] = _as_they_are
    ready: bool = True


READY: Final = {
    "latest": Question(
        "fields @timestamp, eventType, sourceSystem, extra.userId, extra.actionStatus, eventId"
        " | sort @timestamp desc",
        _newest_first,
    ),
    "actors": Question(
        "filter ispresent(extra.userId) | stats count(*) as events by extra.userId | sort events desc",
        _by_actor,
    ),
    "failures": Question(
        "fields @timestamp, eventType, extra.userId, extra.actionStatus, eventId"
        ' | filter extra.actionStatus in ["FAILURE", "DENIED"] | sort @timestamp desc',
        _newest_first,
    ),
    # by @log, too: what two pipelines deliver to two log groups is there twice on purpose
    "duplicates": Question(
        "filter ispresent(eventId) | stats count(*) as copies, count_distinct(part) as parts by eventId, @log"
        " | filter copies > 1 | sort copies desc",
        _more_than_once,
    ),
}

_SUGGESTIONS: Final = {
    "Timeout": "Ask for less: a later --since, an earlier --until, one --pipeline, or a filter in the query.",
    "Cancelled": "Somebody has stopped it: run it again.",
}
_RUN_AGAIN: Final = "Run it again; if it fails again, ask for less with --since, --until and --pipeline."
_GOING_ON: Final = {"Scheduled", "Running", "Unknown"}


@dataclass(slots=True)
class _Query:
    source: Source
    groups: list[str]
    id: str
    status: str = "Scheduled"
    rows: list[Row] = field(default_factory=list)
    scanned: int = 0
    matched: int = 0

    def look(self) -> None:
        asked = {"queryId": self.id}
        answer = self.source.call(lambda client: client.get_query_results(**asked), ALL_GROUPS)
        self.status = answer["status"]
        statistics = answer.get("statistics", {})
        self.scanned = int(statistics.get("recordsScanned", 0))
        self.matched = int(statistics.get("recordsMatched", 0))
        if self.status == "Complete":
            self.rows = [
                {cell["field"]: cell.get("value", "") for cell in row if cell["field"] != "@ptr"}
                for row in answer["results"]
            ]
        elif self.status not in _GOING_ON:
            suggestion = _SUGGESTIONS.get(self.status, _RUN_AGAIN)
            region = self.source.session.region
            raise QueryUnfinished(region=region, status=self.status, suggestion=suggestion)


def question(named: str) -> Question:
    """Give the ready-made query of this name, or the query that it is. Raises typer.BadParameter."""
    if named in READY:
        return READY[named]
    if named.strip().replace("-", "").isalnum():
        hint = did_you_mean(named, READY) or f"there are {', '.join(READY)}; or write a query"
        raise typer.BadParameter(f"there is no ready-made query {named!r}; {hint}", param_hint="QUERY")
    return Question(named, ready=False)


def ask(sources: list[Source], asked: Question, since: float, until: float, limit: int) -> dict[str, Any]:
    """Run a query everywhere, times in Unix seconds; gives `rows`, `scanned`, `matched` and `logGroups`.

    A ready-made query gives at most `limit` rows in all, one's own that many from each place. When it is
    interrupted, the service is told to stop. Raises LogsUnreadable, QueryUnfinished.
    """
    # a count that is to be merged needs every row of every place
    most = limit if asked.merged in {_as_they_are, _newest_first} else MAX_ROWS
    given = {"queryString": asked.text, "startTime": int(since), "endTime": int(until), "limit": most}
    with _running() as queries:
        for source in sources:
            queries.extend(_start(source, given))
        _wait(queries)
    rows = asked.merged([row for query in queries for row in query.rows])
    return {
        "rows": rows[:limit] if asked.ready else rows,
        "scanned": sum(query.scanned for query in queries),
        "matched": sum(query.matched for query in queries),
        "logGroups": [
            {"region": query.source.session.region, "logGroup": name}
            for query in queries
            for name in query.groups
        ],
    }


def columns(rows: list[Row]) -> list[str]:
    """Name the columns of all rows, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row))


@contextmanager
def _running() -> Iterator[list[_Query]]:
    """Give a list for queries; whatever ends it early, an interruption included, stops those that run."""
    queries: list[_Query] = []
    try:
        yield queries
    finally:
        for query in queries:
            if query.status in _GOING_ON:
                _stop(query)


def _stop(query: _Query) -> None:
    try:
        query.source.call(lambda client: client.stop_query(queryId=query.id), ALL_GROUPS)
    except LogsUnreadable as error:
        typer.echo(f"auditflow: a query may go on in {query.source.session.region}: {error}", err=True)


def _start(source: Source, given: dict[str, Any]) -> Iterator[_Query]:
    groups = source.groups()
    for at in range(0, len(groups), MAX_GROUPS):
        names = groups[at : at + MAX_GROUPS]
        try:
            yield _Query(source, names, _query_id(source, names, given))
        except LogsUnreadable as error:
            if not is_missing(error):
                raise
            there = [name for name in names if source.exists(name)]
            if not there:
                raise
            absent = ", ".join(name for name in names if name not in there)
            typer.echo(f"auditflow: not there, so not searched: {absent}", err=True)
            yield _Query(source, there, _query_id(source, there, given))


def _query_id(source: Source, names: list[str], given: dict[str, Any]) -> str:
    return source.call(
        lambda client: str(client.start_query(logGroupNames=names, **given)["queryId"]), names[0]
    )


def _wait(queries: list[_Query]) -> None:
    started = time.monotonic()
    terminal = sys.stderr.isatty()
    try:
        while going_on := [query for query in queries if query.status in _GOING_ON]:
            for query in going_on:
                query.look()
            if terminal:
                done = sum(query.status not in _GOING_ON for query in queries)
                scanned = sum(query.scanned for query in queries)
                passed = time.monotonic() - started
                text = f"{passed:.0f} s, {done} of {len(queries)} searched, {scanned:,} records scanned"
                typer.echo(f"\r\x1b[K{text}", err=True, nl=False)
            if any(query.status in _GOING_ON for query in queries):
                time.sleep(PAUSE)
    finally:
        if terminal:
            typer.echo("\r\x1b[K", err=True, nl=False)
