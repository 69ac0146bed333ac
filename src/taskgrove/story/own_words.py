"""The words of a node's end, without its name before them. Pure."""

from __future__ import annotations

from taskgrove.events import one_line
from taskgrove.story.run_node import RunNode


def own_words(node: RunNode) -> str:
    """Return the message of a node on one line, without its device or name before it."""
    message = node.message
    composed = node.composed
    target = None if composed is None or composed.execution != "DEVICE" else composed.target
    for speaker in (*(node.devices or (target,)), node.name):
        if speaker and message.startswith(f"{speaker}:"):
            message = message[len(speaker) + 1 :].lstrip(" ")
            break
    if not message.strip() and node.finished is not None:
        message = node.finished.error or ""
    return one_line(message)
