"""A self-contained page about one run or several, to read without a network.

Everything is in the one file: no script, no font, no picture from elsewhere, nothing that a
mail program or a page's policy would block. Every text of a device, a map or a user is
escaped. It prints well, and follows the reader's choice of light or dark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove import store
from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.events import AnalysisDetail
from taskgrove.store.queries.flat_values import cell_of, flat_values
from taskgrove.story.run_node import RunNode
from taskgrove.view.act_words import wait_summary
from taskgrove.view.phrases import code_text
from taskgrove.view.record_view import end_words, state_words, story_of_record
from taskgrove.view.report_style import STYLE
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import duration_text, safe_lines, safe_text
from taskgrove.view.tree_html import render_html
from taskgrove.view.why import why
from taskgrove.view.why.rendering import render_why_html

if TYPE_CHECKING:
    from taskgrove.store.queries.run_rows import PageRow, RunRow

#: The page itself forbids that anything is fetched or run.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
#: Longer texts are cut; the record holds them whole.
_LONGEST_TEXT: Final = 20_000


def render_report(
    history: store.History, runs: Iterable[store.RunSummary | str], *, clock: Clock = SYSTEM_CLOCK
) -> str:
    """Return a page about runs, as one HTML document.

    Args:
        history: The record.
        runs: The runs, in the order wanted.
        clock: Tells when the page was made.
    """
    now_ns = clock.wall_ns()
    found = [history.run(run) for run in runs]
    parts = [_article(history, run, now_ns) for run in found]
    title = f"Run {found[0].run_id}" if len(found) == 1 else f"{len(found):,} runs"
    contents = _contents(found) if len(found) > 1 else ""
    made = f"{_instant(now_ns)}, from {_text(history.store.location)}"
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(title)} - taskgrove</title><style>{STYLE}</style></head>\n"
        f"<body><main>{contents}{''.join(parts)}</main>\n"
        f"<footer>Made by taskgrove on {made}. Times are UTC.</footer></body></html>\n"
    )


def write_report(
    history: store.History, runs: Iterable[store.RunSummary | str], file: str | Path
) -> Path:
    """Write a page about runs; return the file.

    Args:
        history: The record.
        runs: The runs, in the order wanted.
        file: The file.
    """
    target = Path(file)
    target.write_text(render_report(history, runs), encoding="utf-8")
    return target


def _contents(runs: Sequence[RunRow]) -> str:
    rows = "".join(
        f'<tr><td><a href="#{_anchor(run)}">{_text(run.run_id)}</a></td>'
        f"<td>{_text(run.command)}</td>{_outcome_cell(run)}"
        f"<td>{_text(duration_text(run.duration_s))}</td>"
        f"<td>{_text(end_words(run))}</td></tr>"
        for run in runs
    )
    head = "".join(f"<th>{name}</th>" for name in ("Run", "Command", "Outcome", "Took", "Why"))
    return f"<h1>{len(runs):,} runs</h1><table><tr>{head}</tr>{rows}</table>"


def _article(history: store.History, run: RunRow, now_ns: int) -> str:
    nodes, verdicts = history.nodes(run), history.verdicts(run)
    location = history.store.location
    story = story_of_record(
        run,
        nodes,
        now_ns=now_ns,
        verdicts=verdicts,
        requests=history.requests(run),
        location=location,
    )
    sections = [
        ("Why", render_why_html(why(story))),
        ("Tree", render_html(RunView.of(run.run_id, nodes)) if nodes else ""),
        ("Pages", _pages(history.pages(run))),
        ("Analyses", _analyses(nodes)),
        ("Run with", _run_with(run)),
        ("Versions", _pairs(run.versions)),
    ]
    waits = wait_summary(nodes, now_ns) if run.state == "running" else ""
    shown = "".join(
        f"<section><h3>{title}</h3>{content}</section>" for title, content in sections if content
    )
    return f'<article id="{_anchor(run)}">{_head(run, now_ns, location, waits)}{shown}</article>'


def _head(run: RunRow, now_ns: int, location: str, waits: str) -> str:
    ended = "" if run.ended_ns is None else _instant(run.ended_ns)
    facts = {
        "Run": run.run_id,
        "Began": _instant(run.created_ns),
        "Ended": ended,
        "Took": duration_text(run.duration_s),
        "State": state_words(run, now_ns, location),
        "Waits": waits,
        "Leaves": _leaves(run),
        "Resumes": run.parent_run_id or "",
        "Resumed by": ", ".join(
            f"{it.run_id} ({it.outcome or 'removed since'})"
            for it in run.resumed_by
            if it.of_run_id == run.run_id
        ),
        "Ran on": run.host,
        "As": run.user,
        "Labels": ", ".join(f"{name}={value}" for name, value in run.labels.items()),
        "Record": f"{run.lost_event_count} events could not be kept"
        if run.lost_event_count
        else "",
    }
    return (
        f'<h2>{_text(run.command)} <span class="badge {run.outcome}">{run.outcome}</span></h2>'
        f"{_pairs(facts)}"
    )


def _leaves(run: RunRow) -> str:
    told = [f"{run.leaf_count:,}"]
    if run.failed_leaf_count:
        told.append(f"{run.failed_leaf_count:,} not well")
    if run.retry_count:
        told.append(f"{run.retry_count:,} tried again")
    return ", ".join(told)


def _pages(pages: Sequence[PageRow]) -> str:
    return _listed(
        f"<b>{_text(page.display_name)}</b>: {_text(page.file)}"
        f" ({page.size_bytes:,} bytes, sha256 {_text(page.sha256[:16])}…)"
        for page in pages
    )


def _analyses(nodes: Sequence[RunNode]) -> str:
    return "".join(
        _analysis(node.path, node.analysis) for node in nodes if node.analysis is not None
    )


def _analysis(path: str, found: AnalysisDetail) -> str:
    facts = {
        "Status": found.status,
        "Summary": found.summary,
        "Took": duration_text(found.duration_s),
        "Command line": " ".join(found.argv),
        "Folder": found.cwd,
        "Output": ", ".join(found.output_files),
        "Code": "" if found.code is None else code_text(found.code),
        "Host": found.host,
        "User": found.user,
    }
    summary = flat_values(found.summary_values, "summary")
    folded = [
        ("Result", _pairs({**summary, **flat_values(found.payload, "payload")})),
        ("Parameters", _pairs(_flat(found.parameters))),
        ("Environment", _pairs(found.environment)),
        ("Versions", _pairs(found.versions)),
    ]
    below = "".join(
        f"<details><summary>{name}</summary>{content}</details>"
        for name, content in folded
        if content
    )
    return f"<h4>{_text(found.analysis)} <small>{_text(path)}</small></h4>{_pairs(facts)}{below}"


def _flat(parameters: str) -> dict[str, Any]:
    try:
        values = json.loads(parameters)
    except ValueError:
        return {"parameters": parameters}
    if not isinstance(values, dict):
        return {"parameters": values}
    return {name: cell_of(value) for name, value in values.items()}


def _run_with(run: RunRow) -> str:
    source = dict(run.source)
    text = source.pop("text", "")
    source |= {"command line": " ".join(run.argv)} if run.argv else {}
    content = _pairs(source)
    if isinstance(text, str) and text:
        content += f"<details><summary>Map</summary><pre>{_block(text)}</pre></details>"
    return content


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_value(value)}</td></tr>"
        for name, value in values.items()
        if value not in ("", None, {}, [])
    )
    return f'<table class="pairs">{rows}</table>' if rows else ""


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    return _text(json.dumps(value, ensure_ascii=False, default=str))


def _listed(items: Iterable[str]) -> str:
    rows = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{rows}</ul>" if rows else ""


def _outcome_cell(run: RunRow) -> str:
    return f'<td><span class="badge {run.outcome}">{run.outcome}</span></td>'


def _anchor(run: RunRow) -> str:
    return f"run-{run.run_key}"


def _instant(instant_ns: int) -> str:
    from taskgrove.store.queries.run_filter import from_ns  # noqa: PLC0415

    return f"{from_ns(instant_ns):%Y-%m-%d %H:%M:%S}"


def _text(value: object) -> str:
    text = safe_text(value)
    return escape(f"{text[:_LONGEST_TEXT]}…" if len(text) > _LONGEST_TEXT else text, quote=True)


def _block(text: str) -> str:
    cut = f"{text[:_LONGEST_TEXT]}\n…" if len(text) > _LONGEST_TEXT else text
    return escape("\n".join(safe_lines(cut)), quote=True)
