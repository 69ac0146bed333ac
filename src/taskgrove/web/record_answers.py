"""What the page shows, as plain data: the JSON twin of each view.

Threads: any thread may call any function; each reads the record anew.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UsageError, did_you_mean
from taskgrove.events.steering_request import VERBS
from taskgrove.provenance import user_name
from taskgrove.store.history import History
from taskgrove.store.queries.listing import plain_of
from taskgrove.store.queries.run_filter import RunFilter, parse_filter
from taskgrove.store.queries.run_outcome import RUN_OUTCOMES
from taskgrove.store.queries.run_rows import RunSummary
from taskgrove.store.verdicts import VERDICTS
from taskgrove.story.run_node import RunNode
from taskgrove.view.act_words import wait_summary
from taskgrove.view.output_end import last_lines_of
from taskgrove.view.record_view import told_of_run
from taskgrove.web.page_requests import read_limit
from taskgrove.web.run_feed import head_of, plain_node, usual_of, why_of
from taskgrove.web.tree_rows import looks, row_of_node

#: So many lines at the end of a file of output are told.
OUTPUT_LINES: Final = 100
#: How many runs a list shows, and at most.
LIST_RUNS: Final = 50
MOST_RUNS: Final = 1_000
#: A run that has not ended is looked at for what it waits for, where it has no more leaves.
_LOOKED_AT: Final = 2_000
#: The parameters of the list, as in the address of the page.
PARAMETERS: Final = ("command", "outcome", "device", "since", "until", "label", "limit")


def about(history: History, *, may_act: bool, who: str, version: str) -> dict[str, Any]:
    """Return what the page needs to know before it shows anything.

    Args:
        history: The record.
        may_act: Whether this browser may ask something of a run.
        who: Who asks, where a request names nobody.
        version: The version of taskgrove.
    """
    return {
        "version": version,
        "record": history.store.location,
        "may_act": may_act,
        "who": who,
        "looks": looks(),
        "outcomes": list(RUN_OUTCOMES),
        "verbs": list(VERBS),
        "verdicts": list(VERDICTS),
    }


def list_of_runs(history: History, given: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the runs that a filter lets through, newest first, and how many there are of each.

    Args:
        history: The record.
        given: The parameters of the address, each with its values.

    Raises:
        UsageError: A parameter is unknown, or its value cannot be read.
        StoreError: The record cannot be read.
    """
    which = filter_of(given)
    limit = which.limit or LIST_RUNS
    found = history.runs(_with_limit(which, limit + 1))
    outcomes = Counter(run.outcome for run in history.runs(_with_limit(which, MOST_RUNS, ())))
    return {
        "runs": [_listed(history, run) for run in found[:limit]],
        "has_more": len(found) > limit,
        "is_narrow": which.is_narrow,
        "counts": {outcome: outcomes[outcome] for outcome in RUN_OUTCOMES if outcomes[outcome]},
        "counted": sum(outcomes.values()),
    }


def filter_of(given: Mapping[str, list[str]], clock: Clock = SYSTEM_CLOCK) -> RunFilter:
    """Return the filter that the parameters of an address mean.

    Args:
        given: The parameters, each with its values; empty values do not count.
        clock: Relative times are counted from its time.

    Raises:
        UsageError: A parameter is unknown, or its value cannot be read.
    """
    for name in given:
        if name not in PARAMETERS:
            raise UsageError(
                f"there is no parameter {name!r}",
                hint=did_you_mean(name, PARAMETERS) or f"allowed: {', '.join(PARAMETERS)}",
            )
    values = {name: [text for text in given.get(name, ()) if text.strip()] for name in PARAMETERS}
    return parse_filter(
        command=_last(values["command"]),
        outcomes=values["outcome"],
        device=_last(values["device"]),
        since=_last(values["since"]),
        until=_last(values["until"]),
        labels=values["label"],
        limit=read_limit(_last(values["limit"]), LIST_RUNS, MOST_RUNS),
        clock=clock,
    )


def one_run(history: History, run: str) -> dict[str, Any]:
    """Return all that is known of a run: what ``runs show --json`` prints, requests and more.

    Raises:
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    row, nodes, verdicts, requests = history.whole(run)
    return {
        "run": plain_of(row),
        "nodes": plain_of(nodes),
        "pages": plain_of(history.pages(row)),
        "verdicts": plain_of(verdicts),
        "requests": plain_of(requests),
    }


def rows_of_run(history: History, run: str) -> dict[str, Any]:
    """Return what the page shows of a run: the words above the tree, and its rows.

    Raises:
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    whole = history.whole(run)
    now_ns, usual = SYSTEM_CLOCK.wall_ns(), usual_of(history, whole.run)
    return {
        "position": whole.run.last_sequence,
        "head": head_of(whole, history.store.location, now_ns, usual),
        "nodes": [msgspec.to_builtins(row_of_node(it, at)) for at, it in enumerate(whole.nodes)],
    }


def one_node(history: History, run: str, path: str) -> dict[str, Any]:
    """Return all that is known of one node.

    Raises:
        UnknownRunError: There is no such run.
        UsageError: The run has no such node.
        StoreError: The record cannot be read.
    """
    row, nodes, *_ = history.whole(run)
    return plain_node(_node_at(row.run_id, nodes, path), row.run_id)


def _node_at(run_id: str, nodes: Sequence[RunNode], path: str) -> RunNode:
    found = next((node for node in nodes if node.path == path), None)
    if found is None:
        known = [node.path for node in nodes]
        raise UsageError(f"run {run_id} has no node {path!r}", hint=did_you_mean(path, known))
    return found


def usual_of_nodes(history: History, run: str) -> dict[str, Any]:
    """Return how long the nodes of a run usually take, in seconds by path.

    Raises:
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    row = history.find(run)
    found = history.usual_durations(row.command, node_count=row.leaf_count, but=row.run_id)
    return {"run_id": row.run_id, "usual_s": found}


def output_of_node(history: History, run: str, path: str, file: str) -> dict[str, Any]:
    """Return the last lines of a file of output of a node.

    Args:
        history: The record.
        run: The run.
        path: The node.
        file: The file, as the record names it.

    Raises:
        UnknownRunError: There is no such run.
        UsageError: The node has no such output; or another user, or another machine, made it.
        StoreError: The record cannot be read.
    """
    row, nodes, *_ = history.whole(run)
    found = _node_at(row.run_id, nodes, path)
    files = () if found.analysis is None else found.analysis.output_files
    if file not in files:
        raise UsageError(f"{path!r} has no output {file!r}", hint=did_you_mean(file, files))
    # A record that others can write must not make this server show files of its own user.
    if (row.user, row.host) != (user_name(), socket.gethostname()):
        raise UsageError(f"{file} was written by {row.user}@{row.host}, and is not read from here")
    try:
        return {"file": file, "lines": last_lines_of(file, OUTPUT_LINES)}
    except OSError as exc:
        raise UsageError(f"{file} cannot be read: {exc.strerror or exc}") from exc


def why_run(history: History, run: str) -> dict[str, Any]:
    """Return the explanation of a run: what ``why --json`` prints.

    Raises:
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    plain: dict[str, Any] = msgspec.to_builtins(why_of(history.whole(run), history.store.location))
    return plain


def _listed(history: History, run: RunSummary) -> dict[str, Any]:
    plain: dict[str, Any] = plain_of(run)
    for large in ("message", "left_out"):
        plain.pop(large)
    waits = ""
    if run.state == "running" and run.leaf_count <= _LOOKED_AT:
        waits = wait_summary(history.nodes(run), SYSTEM_CLOCK.wall_ns())
    return {**plain, "told": told_of_run(run, waits)}


def _with_limit(which: RunFilter, limit: int, outcomes: Iterable[Any] | None = None) -> RunFilter:
    chosen = which.outcomes if outcomes is None else tuple(outcomes)
    return replace(which, limit=limit, outcomes=chosen)


def _last(values: list[str]) -> str | None:
    return values[-1] if values else None
