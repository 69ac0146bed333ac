"""``taskgrove compose``: the tree of a command, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json import dumps as to_json
from typing import Any, Final, NamedTuple

from taskgrove.cli import options as opt
from taskgrove.cli.analyses import AnalysisOptions
from taskgrove.cli.compose_check import check_command
from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.given import digest_of, load_argin, load_manager
from taskgrove.cli.recorded import errors_as_json, write_json
from taskgrove.cli.run_session import MapSession, device_leaves
from taskgrove.cli.simulator_section import check_simulator_section
from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.attribute_condition import READING_STEPS, AttributeCondition, value_text
from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.leaf_runner import LeafLimits, LeafRunner
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.errors import CommandError, MissingExtraError, UsageError
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import step_words
from taskgrove.view.snapshot import RunView
from taskgrove.view.task_view import view_of
from taskgrove.view.terminal_text import clip, safe_text, width_of

#: Facts that only a device knows.
_NOT_ASKED: Final = (
    "not checked without devices: whether devices answer, have their commands and "
    "Abort, and take their arguments; without --offline they are asked"
)
#: The effect of an abort on a leaf.
_ABORTS: Final = {
    "kill": "it is killed",
    "ask": "it is asked to stop",
    "none": "it is not stopped",
}


@verb
def compose(
    map_file: opt.MapFile,
    command: opt.CommandName,
    argin: opt.Argin = None,
    manager: opt.Manager = None,
    offline: opt.Offline = False,
    db: opt.Database = None,
    analyses: opt.AnalysisModules = None,
    work_dir: opt.WorkDir = None,
    json: opt.ComposedAsJson = False,
    check: opt.Check = False,
) -> int:
    """Show the tree that a command would run: a dry run that calls no command of a device.

    All is checked that 'run' checks before it starts anything. Devices are asked for attributes
    (allowed_states) and for their commands; nothing else is asked of them.

    --check tells in one line each all that does not fit between the command and the devices, and
    exits as a run would begin: 0, 3 with steps left out because of a fault, 4 rejected.
    """
    if check and offline:
        raise UsageError("--check asks devices, and --offline asks none", hint="leave one out")
    terminal = Terminal(json=json)
    options = AnalysisOptions.given(analyses, None, work_dir, database=db)
    with errors_as_json(terminal, wanted=json):
        digest = digest_of(map_file) if json else ""
        command_map = load_command_map(map_file)
        check_simulator_section(command_map)
        resources = load_argin(argin)
        reader = None
        if command_map.devices and not offline:
            reader = DeviceReader("asking devices for their states ('--offline' asks none)")
        with MapSession(
            command_map,
            load_manager(manager),
            reader=reader,
            offline=offline,
            analyses=options,
        ) as session:
            facts = {"command": command, "file": map_file, "digest": digest, "offline": offline}
            if check:
                with MapSession(
                    command_map,
                    load_manager(manager),
                    reader=reader,
                    offline=True,
                    analyses=options,
                ) as whole:
                    checked = check_command(session, whole, command, resources)
                if json:
                    write_json(terminal, {**facts, **checked.as_plain()})
                else:
                    checked.tell(terminal)
                return checked.exit_code
            composed = _composed(terminal, session, command, resources, offline=offline)
        if json:
            write_json(terminal, {**facts, **_plain(composed)})
        else:
            print_composition(terminal, composed)
        if offline and any(True for _ in device_leaves(composed.task)):
            terminal.say_item(_NOT_ASKED)
    return ExitCode.OK


class ComposedRow(NamedTuple):
    """One node of a composed tree.

    Attributes:
        node: The node.
        what: Its target, or how its children run.
        terms: Its limits, its rule, and its description.
    """

    node: RunNode
    what: str
    terms: str


class Composition(NamedTuple):
    """A composed tree, and the words about its nodes.

    Attributes:
        task: The tree.
        view: The same as nodes.
        rows: Each node, parents before their children.
    """

    task: Task
    view: RunView
    rows: list[ComposedRow]


def _composed(
    terminal: Terminal, session: MapSession, command: str, resources: Any, *, offline: bool
) -> Composition:
    try:
        task = session.compose(command, resources)
    except CommandError as exc:
        if exc.by_faults:  # nothing else tells it, as nothing is run
            exc.hint = exc.hint or session.hint
        raise
    session.preflight(task)
    runners = _runners(terminal, session, task, offline=offline)
    return composition_of(task, runners, session.aborts_of(task))


def _runners(
    terminal: Terminal, session: MapSession, task: Task, *, offline: bool
) -> Mapping[TaskExecutionType, LeafRunner]:
    """Return the runners that know the limits of leaves; offline they may be missing."""
    try:
        return session.runners_for(task)
    except MissingExtraError as exc:
        if not offline:
            raise
        terminal.say(
            f"note: the effect of aborts and timeouts is not known: {safe_text(exc)}", "dim"
        )
        return {}


def composition_of(
    task: Task,
    runners: Mapping[TaskExecutionType, LeafRunner],
    aborts: Mapping[str, bool],
) -> Composition:
    """Return a composed tree with the words about its targets, limits and rules.

    Args:
        task: The tree.
        runners: Know the limits of leaves.
        aborts: Whether the device of a leaf can be asked to abort, by path, where it was asked.
    """
    rows = []
    view = view_of(task)
    for node in view.walk():
        leaf = task.find(node.path)
        runner = runners.get(leaf.task_type)
        limits = runner.limits(leaf) if runner and isinstance(leaf, LeafTask) else None
        if limits is not None and aborts.get(node.path) is False:
            limits = LeafLimits("none", "reported", limits.note)
        rows.append(ComposedRow(node, _what(node), _terms(node, leaf, limits, aborts)))
    return Composition(task, view, rows)


def print_composition(terminal: Terminal, composed: Composition) -> None:
    """Print a composed tree, and the parts that were left out.

    Args:
        terminal: Where.
        composed: The tree.
    """
    rows = [
        (_label(composed.view, row.node, terminal), row.what, row.terms) for row in composed.rows
    ]
    widths = [max(width_of(row[column]) for row in rows) for column in range(2)]
    for label, what, terms in rows:
        gap = " " * (widths[0] - width_of(label) + 2)
        line = f"{label}{gap}{what}{' ' * (widths[1] - width_of(what) + 2)}{terms}".rstrip()
        if terminal.words.is_terminal:
            line = clip(line, terminal.width, terminal.charset.ellipsis)
        terminal.say_line([(line, "")])
    _say_arguments(terminal, composed.view)
    leaves = _leaf_count(composed.task)
    terminal.say(f"{leaves} {'leaf' if leaves == 1 else 'leaves'}; nothing was started.")
    if composed.task.composition_notes:
        terminal.say("Left out, not checked, and limits:", "bold")
        for note in composed.task.composition_notes:
            terminal.say_item(note)


def _plain(composed: Composition) -> dict[str, Any]:
    """Return a composed tree as plain data; secrets of the map are left out, as everywhere."""
    rule = shown_rule()
    nodes = [
        {
            "path": row.node.path,
            "is_leaf": row.node.is_leaf,
            "what": rule.said(row.what),
            "terms": rule.said(row.terms),
            "step": None if row.node.composed is None else row.node.composed.step,
            "argin": rule.plain(row.node.argin),
        }
        for row in composed.rows
    ]
    notes = [rule.said(safe_text(note)) for note in composed.task.composition_notes]
    return {"leaf_count": _leaf_count(composed.task), "nodes": nodes, "notes": notes}


def _leaf_count(task: Task) -> int:
    return sum(1 for _, node in task.walk() if isinstance(node, LeafTask))


def _say_arguments(terminal: Terminal, view: RunView) -> None:
    """Print the arguments of the leaves; leaves with the same one share a line."""
    given: dict[str, list[str]] = {}
    for node in view.walk():
        composed = node.composed
        argin = None if composed is None or composed.step != "command" else composed.argin
        if argin is not None:  # what is done with an attribute stands beside the step
            text = to_json(shown_rule().plain(argin), ensure_ascii=False)
            given.setdefault(text, []).append(node.path)
    if given:
        terminal.say("Arguments:", "bold")
    for text, paths in given.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        terminal.say_item(safe_text(f"{paths[0]}{more}: {text}"))


def _label(view: RunView, node: RunNode, terminal: Terminal) -> str:
    signs = terminal.charset
    stem = ""
    below = node
    while below.parent_path:
        above = view.nodes[below.parent_path]
        last = below is view.branch(above).children[-1]
        if below is node:
            stem = signs.corner if last else signs.branch
        else:
            stem = (signs.gap if last else signs.stem) + stem
        below = above
    return stem + safe_text(node.name)


def _what(node: RunNode) -> str:
    composed = node.composed
    assert composed is not None
    if not node.is_leaf:
        how = "in order" if composed.execution == "SEQUENTIAL" else "all at once"
        if composed.is_finally:
            return f"{how}, however the steps before end"
        return f"{safe_text(composed.call)}, {how}" if composed.call else how
    target = f" on {safe_text(composed.target)}" if composed.target else ""
    return f"{safe_text(step_words(composed))}{target}"


def _hold_terms(task: BaseTask) -> Iterator[str]:
    limit = "" if task.hold_timeout is None else f" at most {task.hold_timeout:g} s"
    if task.hold == "never":
        yield "a failure waits for no decision"
    elif task.hold is not None:
        yield f"a failure waits{limit} for a decision"
    elif limit:
        yield f"a failure that is held waits{limit}"


def _step_terms(leaf: LeafTask) -> Iterator[str]:
    """Yield what a step does with an attribute, and when it has nothing to do."""
    if leaf.step == "write":
        written = shown_rule().plain({leaf.command_name: leaf.argin})[leaf.command_name]
        yield f"value {safe_text(value_text(written))}"
    elif leaf.step != "command":
        until = "until " if leaf.step == "wait" else ""
        yield f"{until}{safe_text(AttributeCondition.of(leaf.argin).words)}"
    if (condition := leaf.settings.get("skip_if")) is not None:
        yield f"nothing to do if {safe_text(AttributeCondition.of(condition).words)}"
    if (limit_s := leaf.settings.get("call_timeout_s")) is not None:
        yield f"the call may take {limit_s:g} s"


def _terms(
    node: RunNode, task: BaseTask, limits: LeafLimits | None, aborts: Mapping[str, bool]
) -> str:
    composed = node.composed
    assert composed is not None
    is_device = composed.execution == "DEVICE"
    terms = list(_step_terms(task)) if isinstance(task, LeafTask) else []
    if composed.rule:
        terms.append(f"rule {composed.rule}")
    elif composed.pst_group:
        terms.append("rule PST group")
    if composed.skip_subtasks:
        terms.append("a failure skips the rest")
    if composed.timeout_s is not None:
        reported = limits is not None and limits.timeout != "enforced"
        what = "the device" if is_device else "it"
        how = f" ({what} is not stopped)" if reported else ""
        terms.append(f"timeout {composed.timeout_s:g} s{how}")
    if composed.retries:
        terms.append(f"{composed.retries} {'retry' if composed.retries == 1 else 'retries'}")
    if composed.retry_delay_s:
        factor = composed.retry_backoff
        longer = f", each {factor:g} times as long" if factor > 1 else ""
        terms.append(f"{composed.retry_delay_s:g} s between attempts{longer}")
    if limits is not None:
        word = "Abort is sent" if is_device and limits.abort == "ask" else _ABORTS[limits.abort]
        word = "it ends" if composed.step in READING_STEPS else word
        is_asked = is_device and composed.step == "command"
        unknown = " if the device has it" if is_asked and node.path not in aborts else ""
        terms.append(f"on abort: {word}{unknown}")
    terms.extend(_hold_terms(task))
    if composed.description:
        terms.append(f'"{safe_text(composed.description)}"')
    return "; ".join(terms)
