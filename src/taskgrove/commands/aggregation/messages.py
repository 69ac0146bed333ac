"""The text of a result: its length, its origin.

Pure; any thread may call these functions.
"""

from __future__ import annotations

import re
from typing import Final

#: A message longer than this is cut, in characters, its mark included.
MESSAGE_LIMIT: Final = 4096
CUT_MARK: Final = " … [cut]"
#: A ``Causes:`` header that stands alone on its line.
_CAUSES_BLOCK: Final = re.compile(r"^[ \t]*Causes:[ \t]*$", re.MULTILINE)


def holds_causes(message: str) -> bool:
    """Return whether the message holds a ``Causes:`` block."""
    return "Causes:" in message and _CAUSES_BLOCK.search(message) is not None


def format_message(device_name: str | None, message: str) -> str:
    """Return ``device_name: message``, never doubled, never before a ``Causes:`` block.

    Args:
        device_name: Where the message came from; None leaves it as it is.
        message: The message; an empty one stays empty.
    """
    if not device_name or not message:
        return message
    if "Causes:" in message and (message.lstrip().startswith("Causes:") or holds_causes(message)):
        return message
    if not (message.startswith(device_name) and starts_with_name(message, device_name)):
        message = f"{device_name}: {message}"
    return message if len(message) <= MESSAGE_LIMIT else cut_message(message)


def cut_message(message: str) -> str:
    """Return the message, cut with a mark when it is too long and holds no ``Causes:`` block."""
    if len(message) <= MESSAGE_LIMIT or holds_causes(message):
        return message
    return message[: MESSAGE_LIMIT - len(CUT_MARK)] + CUT_MARK


def starts_with_name(line: str, name: str) -> bool:
    """Return whether ``line`` begins with ``name`` as its prefix: ``name: …`` or ``name - …``."""
    if not name or not line.startswith(name):
        return False
    rest = line[len(name) : len(name) + 80].lstrip()
    return not rest or rest[0] in ":]" or rest == "-" or rest.startswith("- ")
