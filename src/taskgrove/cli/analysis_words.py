"""Analyses in words: their list, their parameters, and the end of one."""

from __future__ import annotations

import json
import reprlib
import shlex
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.story.node_state import NodeState
from taskgrove.view.terminal_text import clip, duration_text, safe_text

if TYPE_CHECKING:
    from taskgrove.analysis.parameters.describe import ParameterDoc
    from taskgrove.analysis.registry import AnalysisEntry, AnalysisRegistry
    from taskgrove.analysis.running.outcome import AnalysisOutcome
    from taskgrove.events import AnalysisDetail

_STATES: Final[dict[str, NodeState]] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "aborted",
    "TIMEDOUT": "failed",
}
_MEBIBYTE: Final = 1 << 20
_INDENT: Final = "    "


class _Short(reprlib.Repr):
    """Short texts of values; an integer may have more digits than Python writes."""

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:
            return "a very large integer"


_SHORT: Final = _Short()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist = 2, 6, 4
_SHORT.maxstring = _SHORT.maxother = 80


def say_list(terminal: Terminal, registry: AnalysisRegistry) -> None:
    """Print every analysis with its purpose."""
    if not len(registry):
        terminal.say("No analysis is known. '--analyses PACKAGE.MODULE' loads those of a module.")
        return
    width = max(len(name) for name in registry.names)
    for entry in registry:
        head = f"{safe_text(entry.name):<{width}}  "
        _wrapped(terminal, head, safe_text(entry.description) or "-", " " * len(head))
    terminal.say()
    terminal.say("taskgrove analyse --help-task NAME prints the parameters of an analysis.", "dim")


def say_parameters(
    terminal: Terminal, entry: AnalysisEntry, documents: Iterable[ParameterDoc]
) -> None:
    """Print the parameters of an analysis, with types, defaults, units and meanings."""
    terminal.say(safe_text(entry.name), "bold")
    if entry.description:
        _wrapped(terminal, "", safe_text(entry.description), "")
    if entry.impl_schemas:
        terminal.say(f"The schema of its result: {safe_text(entry.impl_schemas)}")
    for line in _start_of(entry):
        _wrapped(terminal, "", safe_text(line), _INDENT)
    terminal.say()
    for item in documents:
        terms = [item.type]
        if item.unit:
            terms.append(f"in {item.unit}")
        default = shown_rule().plain({item.name: item.default})[item.name]
        terms.append("required" if item.required else f"default {default}")
        if item.flag:
            terms.append(f"on the command line {item.flag}")
        _wrapped(
            terminal,
            f"{safe_text(item.name)}: ",
            safe_text(", ".join(terms)),
            _INDENT,
            style="bold",
        )
        if item.description:
            _wrapped(terminal, _INDENT, safe_text(item.description), _INDENT)


def _start_of(entry: AnalysisEntry) -> list[str]:
    """Return how the author of an analysis wants it started and watched, a line for each fact."""
    said = entry.settings
    told = []
    if said.launcher:
        told.append(f"It is started by: {shlex.join(said.launcher)}")
    if said.heartbeat_s is not None:
        told.append(f"It is ended without a sign of life for: {said.heartbeat_s:g} s")
    if said.grace_s is not None:
        told.append(f"Between SIGTERM and SIGKILL: {said.grace_s:g} s")
    if said.python is not None:
        told.append(f"It runs in the Python: {said.python}")
    if said.source is not None:
        told.append(f"It sources: {said.source}")
    for word, tasklets in (("Before it runs", entry.before), ("After it runs", entry.after)):
        names = ", ".join(getattr(item, "__name__", repr(item)) for item in tasklets)
        told += [f"{word}: {names}"] if names else []
    return told


def say_described(terminal: Terminal, outcome: AnalysisOutcome) -> None:
    """Print how an analysis ended: result, parameters, process, pages; one line for each fact."""
    status = outcome.status.name
    said = outcome.cause or _line_of(outcome.result.summary)
    headline = f"{status}: {safe_text(said)}" if said else status
    terminal.say_headline(headline, _STATES.get(status, "failed"))
    say_section(terminal, "Result", _result_of(outcome))
    say_section(terminal, "Parameters", _parameters_of(outcome.described.task_parameters))
    say_section(terminal, "Process", _process_of(outcome))
    told = outcome.described.communicator_desc
    say_section(terminal, "Communicators", [("", text) for text in told])
    pages = [(page.display_name, str(page.file)) for page in outcome.pages]
    files = [(file.name, str(page.place_of(file))) for page in outcome.pages for file in page.files]
    say_section(terminal, "Pages", pages + files)
    say_section(terminal, "Notes", [("", text) for text in outcome.notes])


def described_json(outcome: AnalysisOutcome) -> bytes:
    """Return the whole DescribedAnalysis as JSON, secrets redacted."""
    from taskgrove.analysis.plain.json_form import dump_json  # noqa: PLC0415 - slow

    text = dump_json(outcome.described, indent=2)
    return shown_rule().json(text, indent=2).encode() + b"\n"


def say_section(terminal: Terminal, title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print facts below a title, if there are any: names and texts; a name may be empty."""
    rows = list(facts)
    if rows:
        terminal.say(f"{title}:", "bold")
        for name, text in rows:
            _fact(terminal, name, text)


def _fact(terminal: Terminal, name: str, text: str) -> None:
    head = f"  {safe_text(name)}: " if name else "  - "
    line = f"{head}{safe_text(text)}"
    if terminal.words.is_terminal and name:
        line = clip(line, max(20, terminal.width), terminal.charset.ellipsis)
        terminal.say(line)
    else:
        _wrapped(terminal, head, safe_text(text), _INDENT)


def _result_of(outcome: AnalysisOutcome) -> list[tuple[str, str]]:
    result = outcome.result
    rows = []
    if outcome.cause and _line_of(result.summary) not in ("", outcome.cause):
        rows.append(("summary", _line_of(result.summary)))
    if result.payload is not None:
        payload = result.payload
        if isinstance(payload, Mapping):
            few = shown_rule().plain(dict(list(payload.items())[:12]))
            rows += [(_key_word(key), _SHORT.repr(value)) for key, value in few.items()]
            if len(payload) > 12:
                rows.append(("…", f"and {len(payload) - 12} more"))
        else:
            rows.append(("payload", _payload_word(payload)))
    if result.impl_schemas:
        rows.append(("schemas", result.impl_schemas))
    return rows


def _parameters_of(parameters: Any) -> list[tuple[str, str]]:
    from taskgrove.analysis.describing import parameters_json  # noqa: PLC0415 - slow
    from taskgrove.analysis.parameters.header import AnalysisHeader  # noqa: PLC0415 - slow
    from taskgrove.store.queries.flat_values import cell_of  # noqa: PLC0415 - seldom

    if parameters is None:
        return []
    told = json.loads(parameters_json(parameters, shown_rule()))
    return [
        (name, json.dumps(cell_of(told[name]), ensure_ascii=False))
        for name, value in parameters
        if not isinstance(value, AnalysisHeader)
    ]


def _process_of(outcome: AnalysisOutcome) -> list[tuple[str, str]]:
    detail = outcome.detail
    if detail.pid is None:
        return []
    told = [f"pid {detail.pid}"]
    if outcome.return_code is not None:
        told.append(f"exit status {outcome.return_code}")
    if outcome.duration_s is not None:
        told.append(duration_text(outcome.duration_s))
    if outcome.cpu_s is not None:
        told.append(f"CPU {duration_text(outcome.cpu_s)}")
    if outcome.max_rss_bytes is not None:
        told.append(mebibytes_text(outcome.max_rss_bytes))
    rows = [("process", ", ".join(told)), ("command", " ".join(detail.argv)), ("in", detail.cwd)]
    rows += [(item.name, str(item.file)) for item in outcome.output if item.file is not None]
    rows.append(("limits", limits_text(detail)))
    rows.append(("environment", f"{len(outcome.described.task_env)} variables"))
    return rows


def limits_text(detail: AnalysisDetail) -> str:
    """Return how long an analysis was allowed to take."""
    told = ["no limit" if detail.timeout_s is None else f"{detail.timeout_s:g} s"]
    if detail.heartbeat_s is not None:
        told.append(f"{detail.heartbeat_s:g} s of silence")
    if detail.grace_s is not None:
        told.append(f"{detail.grace_s:g} s from SIGTERM to SIGKILL")
    sourced = "" if detail.source is None else f"; sourced {detail.source}"
    return ", ".join(told) + sourced


def mebibytes_text(count: int) -> str:
    """Return a number of bytes in MiB."""
    return f"{count / _MEBIBYTE:.0f} MiB"


def _payload_word(payload: Any) -> str:
    from taskgrove.analysis.summary_plots import collect_plots  # noqa: PLC0415 - slow

    plots = collect_plots(payload)
    if plots:
        return f"summary plots {', '.join(item.display_name for item in plots)}"
    return _SHORT.repr(payload)


def _key_word(key: Any) -> str:
    return key if isinstance(key, str) else _SHORT.repr(key)


def _line_of(summary: Any) -> str:
    return summary if isinstance(summary, str) else _SHORT.repr(summary)


def _wrapped(terminal: Terminal, head: str, text: str, indent: str, *, style: str = "") -> None:
    """Print a text after a head; on a terminal a long one is broken between words."""
    whole = f"{head}{text}"
    lines = [whole]
    if terminal.words.is_terminal:
        lines = textwrap.wrap(
            whole, max(20, terminal.width), subsequent_indent=indent, drop_whitespace=True
        )
    for number, line in enumerate(lines):
        if style and not number and line.startswith(head.rstrip()):
            terminal.say_line([(head, style), (line[len(head) :], "")])
        else:
            terminal.say(line)
