"""``taskgrove compose --check``: a command of a map against the devices, all findings at once.

Devices are asked for their state, their commands and their attributes; nothing of them is called
or written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.run_session import MapSession
from taskgrove.cli.surroundings import shown_rule
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.composition.refused import RefusedError
from taskgrove.commands.execution.placing import placed
from taskgrove.commands.leaf_runner import Refusal
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.events import LeftOut, Place
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why.actions import place_text


class Finding(NamedTuple):
    """Something that does not fit between a command and a device.

    Attributes:
        path: The step.
        device: Its device, or None.
        kind: The kind of its cause.
        said: The finding, in words.
        place: Where the map says it, or None.
        nearest: The name that was probably meant, or None.
        rejects: Whether the command would be rejected because of it; else the step is left out.
    """

    path: str
    device: str | None
    kind: str
    said: str
    place: Place | None
    nearest: str | None
    rejects: bool

    @property
    def line(self) -> str:
        """The finding on one line."""
        where = "" if self.place is None else f"{place_text(self.place)}: "
        device = "" if self.device is None else f" ({self.device})"
        fate = "" if self.rejects else "; the step would be left out"
        return f"{where}{self.path}{device}: {self.said}{fate}"

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        place = self.place
        return {
            "path": self.path,
            "device": self.device,
            "kind": self.kind,
            "said": self.said,
            "file": None if place is None else place.file,
            "line": None if place is None else place.line,
            "key": None if place is None else place.key,
            "nearest": self.nearest,
            "rejects": self.rejects,
        }


class Checked(NamedTuple):
    """A command that was checked.

    Attributes:
        leaf_count: How many leaves it has.
        findings: What was found, in the order of the tree.
        has_faults: Whether a step would be left out because its device cannot be used.
    """

    leaf_count: int
    findings: list[Finding]
    has_faults: bool

    @property
    def exit_code(self) -> ExitCode:
        """How a run would begin: rejected, with a fault, or well."""
        if any(finding.rejects for finding in self.findings):
            return ExitCode.REJECTED
        return ExitCode.DEGRADED if self.has_faults else ExitCode.OK

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain data, without secrets."""
        found = [finding.as_plain() for finding in self.findings]
        rule = shown_rule()
        told = [{**item, "said": rule.said(item["said"])} for item in found]
        return {"leaf_count": self.leaf_count, "findings": told}

    def tell(self, terminal: Terminal) -> None:
        """Print one line for each finding, and how many there are."""
        for finding in self.findings:
            terminal.say(safe_text(finding.line), "red" if finding.rejects else "yellow")
        many, leaves = len(self.findings), self.leaf_count
        steps = f"{leaves} {'leaf' if leaves == 1 else 'leaves'}"
        found = f"{many or 'no'} {'finding' if many == 1 else 'findings'}"
        terminal.say(f"{steps} checked: {found}; nothing was called or written.")


def check_command(session: MapSession, whole: MapSession, command: str, resources: Any) -> Checked:
    """Check a command against the devices.

    Args:
        session: Asks devices.
        whole: Composes without asking: its tree has the steps that would be left out, too.
        command: The command.
        resources: Its arguments.

    Raises:
        CommandError: The command cannot be composed at all.
    """
    root = whole.compose(command, resources)
    nodes = dict(root.walk())
    refused = {item.path: item for item in session.refusals(root)}
    try:
        found = session.compose(command, resources)
    except RefusedError as exc:
        found = exc.task
        for item in exc.refused:
            refused.setdefault(item.path, item)
    left_out = {item.path: item for item in _left_out(found)}
    order = dict.fromkeys((*nodes, *refused))
    findings = [
        _finding(path, nodes.get(path, root), refused.get(path), left_out.get(path))
        for path in order
        if path in refused or path in left_out
    ]
    count = sum(1 for node in nodes.values() if isinstance(node, LeafTask))
    return Checked(count, findings, any(item.counts for item in left_out.values()))


def _left_out(root: Task) -> Iterable[LeftOut]:
    for _, node in root.walk():
        if isinstance(node, Task):
            yield from node.left_out


def _finding(path: str, node: BaseTask, refusal: Refusal | None, left: LeftOut | None) -> Finding:
    """Return why a step could not start, or would be left out."""
    device = node.device_name if isinstance(node, LeafTask) else None
    if refusal is None:
        assert left is not None  # one of them is why it is told
        said = f"{left.reason}: {left.said}" if left.said else left.reason
        return Finding(path, left.device, left.kind, said, node.places.own, None, False)
    cause = placed(refusal.cause, node)
    place, rejects = cause.place or node.places.own, left is None
    return Finding(path, device, cause.kind, str(refusal), place, cause.nearest, rejects)
