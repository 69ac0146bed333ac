"""Texts, times and sizes as a page shows them. Pure, but for the time zone of this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from taskgrove.analysis.publishing.page_names import iso_time


def shown(text: str) -> str:
    """Return text escaped; characters that hide or reorder text become visible codes."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return f"<bdi>{escape(text)}</bdi>"


def time_tag(wall_ns: int) -> str:
    """Return an instant, nanoseconds since the epoch, in local time; the pointer shows UTC."""
    instant = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC)
    local = instant.astimezone()
    zone = local.strftime("%z")
    told = "UTC" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return (
        f'<time datetime="{iso_time(wall_ns)}" title="{instant:%Y-%m-%d %H:%M:%S} UTC">'
        f"{local:%Y-%m-%d %H:%M:%S} {told}</time>"
    )


def size_text(size_bytes: int) -> str:
    """Return a size in B, kB, MB or GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.{0 if name == 'kB' else 1}f} {name}"
    return f"{size_bytes} B"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
