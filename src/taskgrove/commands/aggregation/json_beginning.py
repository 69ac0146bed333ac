"""Whether a text is the beginning of a JSON text and nothing else; pure.

No decoder is asked: those tell it by words of their own, if at all. NaN and infinities, which
the standard library writes, are numbers here.
"""

from __future__ import annotations

import re
from typing import Final

_BLANKS: Final = " \t\r\n"
_IN_STRING: Final = r'"(?:[^"\\]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_NUMBER: Final = r"-?(?:Infinity|(?:0|[1-9]\d*+)(?:\.\d++)?(?:[eE][-+]?\d++)?)"
_SCALAR: Final = rf"(?:true|false|null|NaN|{_NUMBER})(?![\w.+-])"
_TOKEN: Final = re.compile(
    rf'[{_BLANKS}]*+(?:(?P<string>{_IN_STRING}")|(?P<scalar>{_SCALAR})|(?P<sign>[][{{}}:,]))'
)
#: Values of a list, which are passed over at once: there may be very many.
_VALUES: Final = re.compile(
    rf'(?:[{_BLANKS}]*+(?:{_IN_STRING}"|{_SCALAR})[{_BLANKS}]*+,(?=[{_BLANKS}]*+["\w-]))++'
)
#: What a token may be cut to: a string, a word, a number.
_PART_OF_STRING: Final = re.compile(rf"{_IN_STRING}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?")
_PART_OF_NUMBER: Final = re.compile(r"-?(?:(?:0|[1-9]\d*+)(?:\.\d*+)?(?:[eE][-+]?\d*+)?)?")
_WORDS: Final = ("true", "false", "null", "NaN", "Infinity", "-Infinity")

#: What may come, and what comes after it. "item" is a value, or the end of an empty list; "key"
#: with a mark the same of an object; "more" is a comma, or the end of what is open.
_AFTER: Final[dict[tuple[str, str], str]] = {
    **{(want, kind): "more" for want in ("value", "item") for kind in ("string", "scalar")},
    **{(want, "["): "item" for want in ("value", "item")},
    **{(want, "{"): "key?" for want in ("value", "item")},
    ("item", "]"): "more",
    ("key?", "string"): "colon",
    ("key?", "}"): "more",
    ("key", "string"): "colon",
    ("colon", ":"): "value",
}


def ends_too_early(text: str) -> bool:
    """Return True when a text would be a JSON text if it went on, and is none as it is.

    Args:
        text: The text.
    """
    opened: list[str] = []
    want, at = "value", 0
    while found := _TOKEN.match(text, at):
        at = found.end()
        want = _next(want, found["sign"] or str(found.lastgroup), opened)
        if not want or not opened:
            return False  # it is something else, or whole
        if want in ("value", "item") and opened[-1] == "[" and (run := _VALUES.match(text, at)):
            want, at = "value", run.end()
    rest = text[at:].lstrip(_BLANKS)
    if rest[:1] == '"':
        may_be = want in ("value", "item", "key", "key?")
        return may_be and _PART_OF_STRING.fullmatch(rest) is not None
    return not rest or (want in ("value", "item") and _is_part_of_scalar(rest))


def _next(want: str, came: str, opened: list[str]) -> str:
    """Return what may come after a token, empty where it must not stand; keep what is open."""
    if want == "more":
        inside = opened[-1]
        if came == ",":
            return "value" if inside == "[" else "key"
        following = "more" if came == ("]" if inside == "[" else "}") else ""
    else:
        following = _AFTER.get((want, came), "")
    if came in ("[", "{"):
        opened.append(came)
    elif came in ("]", "}") and following:
        opened.pop()
    return following


def _is_part_of_scalar(rest: str) -> bool:
    return (
        any(word.startswith(rest) for word in _WORDS) or _PART_OF_NUMBER.fullmatch(rest) is not None
    )
