"""The addresses on the network that a page loads."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit

_LOADING: Final = {
    "script": ("src",), "img": ("src",), "iframe": ("src",), "embed": ("src",),
    "object": ("data",), "audio": ("src",), "video": ("src", "poster"), "source": ("src",),
    "track": ("src",), "input": ("src",), "link": ("href",), "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}  # fmt: skip
#: Kinds of link that a browser does not load.
_NOT_LOADED: Final = frozenset({"canonical", "alternate", "author", "license", "help", "next",
                                "prev", "search", "bookmark"})  # fmt: skip


def foreign_addresses(page: bytes) -> tuple[str, ...]:
    """Return the addresses on the network that the tags of a page load, in order, each once.

    Addresses that scripts load later are not found.
    """
    reader = _ReferenceReader()
    reader.feed(page.decode("utf-8", "replace"))
    return tuple(dict.fromkeys(reader.found))


class _ReferenceReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and _NOT_LOADED.issuperset((given.get("rel") or "").lower().split()):
            return
        for name in _LOADING.get(tag, ()):
            address = (given.get(name) or "").strip()
            if _is_foreign(address):
                self.found.append(address)


def _is_foreign(address: str) -> bool:
    if address.startswith("//"):
        return True
    try:
        return urlsplit(address).scheme.lower() in ("http", "https", "ftp", "ws", "wss")
    except ValueError:
        return False
