"""Logs Insights: StartQuery, GetQueryResults, StopQuery, and the part of the query language that is held.

Commands: `fields`, `display`, `filter`, `sort`, `limit`, `dedup`, `stats` with count, count_distinct, min,
max, sum and avg, each `as` a name, `by` fields. Anything else is a MalformedQueryException.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from auditflow.testing.cloudwatch.insights import expressions
from auditflow.testing.cloudwatch.logs.limits import MAX_QUERY_GROUPS
from auditflow.testing.cloudwatch.logs.state import Given, Group, Record, Region
from auditflow.testing.cloudwatch.protocol import ServiceError, invalid

Row = dict[str, str]

_DEFAULT_LIMIT: Final = 10_000
_SPLIT: Final = re.compile(r"""\|(?=(?:[^"'/]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|/(?:\\.|[^/\\])*/)*$)""")
_COMMENT: Final = re.compile(r"^\s*#.*$", re.MULTILINE)
_STATISTIC: Final = re.compile(
    r"(?P<name>\w+)\((?P<of>[^()]*)\)(?:\s+as\s+(?P<alias>[\w@.]+))?", re.IGNORECASE
)
_ALIAS: Final = re.compile(r"\s+as\s+", re.IGNORECASE)
_BY: Final = re.compile(r"\s+by\s+", re.IGNORECASE)
_STATISTICS: Final[dict[str, Callable[[Sequence[str]], float | str]]] = {
    "count": len,
    "count_distinct": lambda values: len(set(values)),
    "min": lambda values: min(values, key=_sort_key, default=""),
    "max": lambda values: max(values, key=_sort_key, default=""),
    "sum": lambda values: sum(map(float, values)),
    "avg": lambda values: sum(map(float, values)) / len(values) if values else "",
}


@dataclass(slots=True)
class Query:
    """A query and its result: Running when first asked for, then Complete."""

    rows: list[Row]
    scanned: int
    matched: int
    status: str = "Scheduled"


@dataclass(slots=True)
class _Table:
    """The rows between two commands, and which columns are to be shown."""

    rows: list[Row]
    columns: list[str] = field(default_factory=list)
    limit: int = _DEFAULT_LIMIT
    matched: int = 0


def start_query(region: Region, given: Given) -> Given:
    """Run a query over one or several groups and keep the result."""
    groups = [region.identified(name) for name in named(given)]
    if given["endTime"] < given["startTime"]:
        raise invalid("End time should not be before the start time.")
    if given.get("queryLanguage", "CWLI") != "CWLI":
        raise invalid("This server speaks the Logs Insights query language (CWLI) only.")
    rows = [_row(region, group, record) for group in groups for record in _records(group, given)]
    scanned = len(rows)
    rows.sort(key=lambda row: row["@ptr"], reverse=True)
    try:
        table = _run(rows, given["queryString"])
    except (ValueError, re.error) as error:
        raise ServiceError("MalformedQueryException", f"Malformed query: {error}") from error
    shown = table.rows[: min(given.get("limit", _DEFAULT_LIMIT), table.limit)]
    query_id = str(uuid.uuid4())
    columns = table.columns or ["@timestamp", "@message", "@ptr"]
    selected = [{name: row[name] for name in columns if name in row} for row in shown]
    region.queries[query_id] = Query(selected, scanned, table.matched)
    return {"queryId": query_id}


def named(given: Given) -> list[str]:
    """Give the names or ARNs of the groups that a StartQuery names, in whichever of its three ways."""
    ways = [given[name] for name in ("logGroupName", "logGroupNames", "logGroupIdentifiers") if name in given]
    if len(ways) != 1:
        raise invalid("Exactly one of logGroupName, logGroupNames and logGroupIdentifiers must be specified")
    names: list[str] = [ways[0]] if isinstance(ways[0], str) else ways[0]
    if not 1 <= len(names) <= MAX_QUERY_GROUPS:
        raise invalid(f"A query takes 1 to {MAX_QUERY_GROUPS} log groups.")
    return names


def get_query_results(region: Region, given: Given) -> Given:
    """Give the state of a query and, once complete, its rows."""
    query = _query(region, given)
    if query.status == "Scheduled":
        query.status = "Running"
    elif query.status == "Running":
        query.status = "Complete"
    rows = query.rows if query.status == "Complete" else []
    return {
        "queryLanguage": "CWLI",
        "status": query.status,
        "results": [[{"field": name, "value": value} for name, value in row.items()] for row in rows],
        "statistics": {
            "recordsScanned": float(query.scanned),
            "recordsMatched": float(query.matched),
            "bytesScanned": 0.0,
        },
    }


def stop_query(region: Region, given: Given) -> Given:
    """Cancel a query that is not complete."""
    query = _query(region, given)
    if query.status not in {"Scheduled", "Running"}:
        raise invalid(f"Provided query ID is in terminal state: {query.status}")
    query.status = "Cancelled"
    return {"success": True}


def _query(region: Region, given: Given) -> Query:
    query = region.queries.get(given["queryId"])
    if not isinstance(query, Query):
        raise ServiceError("ResourceNotFoundException", f"Query ID {given['queryId']} does not exist.")
    return query


def _records(group: Group, given: Given) -> list[Record]:
    """Give the records of the queried time: whole seconds, both ends included."""
    return [
        record
        for stream in group.streams.values()
        for record in stream.records()
        if given["startTime"] <= record.timestamp // 1000 <= given["endTime"]
    ]


def _row(region: Region, group: Group, record: Record) -> Row:
    return expressions.fields_of(record.message) | {
        "@timestamp": _clock_text(record.timestamp),
        "@message": record.message,
        "@logStream": record.stream,
        "@log": f"{region.account}:{group.name}",
        "@ingestionTime": _clock_text(record.ingestion_time),
        "@ptr": record.event_id,
    }


def _clock_text(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03d}"


def _run(rows: list[Row], text: str) -> _Table:
    table = _Table(rows, matched=len(rows))
    for command in _SPLIT.split(_COMMENT.sub("", text)):
        name, _, rest = command.strip().partition(" ")
        if name.lower() not in _COMMANDS:
            raise ValueError(f"unexpected command {name!r}")
        _COMMANDS[name.lower()](table, rest.strip())
    return table


def _fields(table: _Table, text: str) -> None:
    for part in text.split(","):
        source, *alias = _ALIAS.split(part.strip())
        name = alias[0].strip() if alias else _plain(source)
        for row in table.rows if alias else ():
            if _plain(source) in row:
                row[name] = row[_plain(source)]
        table.columns = [column for column in table.columns if column not in {name, "@ptr"}] + [name, "@ptr"]


def _display(table: _Table, text: str) -> None:
    table.columns = [*_names(text), "@ptr"]


def _filter(table: _Table, text: str) -> None:
    condition = expressions.parse(text)
    table.rows = [row for row in table.rows if condition(row)]
    table.matched = len(table.rows)


def _sort(table: _Table, text: str) -> None:
    for part in reversed(text.split(",")):
        name, _, order = part.strip().partition(" ")
        if order.strip().lower() not in {"", "asc", "desc"}:
            raise ValueError(f"unexpected sort order {order!r}")
        table.rows.sort(key=_by(_plain(name)), reverse=order.strip().lower() == "desc")


def _by(column: str) -> Callable[[Row], tuple[int, float, str]]:
    return lambda row: _sort_key(row.get(column, ""))


def _limit(table: _Table, text: str) -> None:
    table.limit = int(text)


def _dedup(table: _Table, text: str) -> None:
    """Keep the first row of each combination of values."""
    names, first = _names(text), dict[tuple[str, ...], Row]()
    for row in table.rows:
        first.setdefault(tuple(row.get(name, "") for name in names), row)
    table.rows = list(first.values())


def _stats(table: _Table, text: str) -> None:
    wanted, *by = _BY.split(text, maxsplit=1)
    keys = _names(by[0]) if by else []
    statistics = list(_STATISTIC.finditer(wanted))
    if not statistics or _STATISTIC.sub("", wanted).strip(" ,"):
        raise ValueError(f"unexpected statistics {wanted!r}")
    grouped: dict[tuple[str, ...], list[Row]] = {} if keys else {(): []}
    for row in table.rows:
        if all(key in row for key in keys):
            grouped.setdefault(tuple(row[key] for key in keys), []).append(row)
    table.columns = [*keys, *(_alias(statistic) for statistic in statistics)]
    table.rows = [
        dict(zip(keys, values, strict=True)) | {_alias(each): _statistic(each, rows) for each in statistics}
        for values, rows in grouped.items()
    ]


def _alias(statistic: re.Match[str]) -> str:
    return statistic["alias"] or f"{statistic['name']}({statistic['of']})"


def _statistic(statistic: re.Match[str], rows: Sequence[Row]) -> str:
    name, of = statistic["name"].lower(), _plain(statistic["of"].strip())
    if name not in _STATISTICS:
        raise ValueError(f"unexpected function {name!r}")
    if name == "count" and of in {"", "*"}:
        return str(len(rows))
    value = _STATISTICS[name]([row[of] for row in rows if of in row])
    return f"{value:g}" if isinstance(value, float) else str(value)


_COMMANDS: Final[dict[str, Callable[[_Table, str], None]]] = {
    "fields": _fields,
    "display": _display,
    "filter": _filter,
    "sort": _sort,
    "limit": _limit,
    "dedup": _dedup,
    "stats": _stats,
}


def _names(text: str) -> list[str]:
    return [_plain(part.strip()) for part in text.split(",")]


def _plain(name: str) -> str:
    return name.strip("`")


def _sort_key(text: str) -> tuple[int, float, str]:
    """Sort numbers by value, before other texts by letter."""
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)
