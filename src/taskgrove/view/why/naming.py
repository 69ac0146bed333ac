"""How an explanation calls nodes, their devices and their commands. Pure."""

from __future__ import annotations

from typing import Final

from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode
from taskgrove.view.phrases import COLUMNS, plain, step_words
from taskgrove.view.terminal_text import clip_middle, safe_text, width_of

_NOUNS: Final = {"write": "its write of", "wait": "its wait for", "expect": "its look at"}


def device_of(node: RunNode) -> str | None:
    """Return the device of a leaf, or None for a leaf that runs on none."""
    if node.devices:
        return node.devices[0]
    composed = node.composed
    return composed.target if composed is not None and composed.execution == "DEVICE" else None


def execution_of(node: RunNode) -> str:
    """Return how a node is executed, such as ``DEVICE``; empty where that is not known."""
    return "" if node.composed is None else node.composed.execution


def runs_here(node: RunNode) -> bool:
    """Return whether a leaf is a step or an analysis, and no command of a device."""
    return execution_of(node) in ("INTERNAL", "ANALYSIS")


def is_below(path: str, above: str) -> bool:
    """Return whether a node is another one, or below it."""
    return path == above or path.startswith(f"{above}/")


def note_of(node: RunNode, topic: str) -> NodeNote | None:
    """Return the first note of a topic on a node, or None."""
    for note in node.notes:
        if note.topic == topic:
            return note
    return None


def below_root(path: str) -> str:
    """Return a path without the root, which every sentence names already."""
    return safe_text(path.partition("/")[2] or path)


def name_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return a node's path below the root; of a long one its last parts, which say which it is."""
    path = below_root(node.path)
    if width_of(path) <= room:
        return path
    parts = path.split("/")
    last = parts.pop()
    while parts and width_of(f"…/{parts[-1]}/{last}") <= room:
        last = f"{parts.pop()}/{last}"
    return f"…/{clip_middle(last, room)}" if parts else clip_middle(last, room)


def who(node: RunNode, room: int = COLUMNS) -> str:
    """Return a node and where it runs: ``pst-beam-03 on low-pst/beam/03``."""
    device = device_of(node)
    if device is not None:
        return f"{name_of(node, room)} on {plain(device, room)}"
    kind = {"INTERNAL": "step ", "ANALYSIS": "analysis "}.get(execution_of(node), "")
    return f"{kind}{name_of(node, room)}"


def command_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return the command of a leaf, for the middle of a sentence."""
    return plain(step_words(node.composed), room) or "its command"


def work_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return the command of a leaf, or its work on an attribute: ``its wait for State``."""
    noun = _NOUNS.get("command" if node.composed is None else node.composed.step)
    return command_of(node, room) if noun is None else f"{noun} {operand_of(node, room)}"


def operand_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return the command of a leaf, or the attribute of a step on one, without its verb."""
    command = None if node.composed is None else node.composed.command_name
    return plain(command or "its attribute", room)


def method_of(node: RunNode, room: int = COLUMNS) -> str:
    """Return the method of a step: ``Manager.check_lock``; a plain function by its name."""
    target = None if node.composed is None else node.composed.target
    if not target or target in ("function", "method", "NoneType"):
        return command_of(node, room)
    return f"{plain(target, room)}.{command_of(node, room)}"
