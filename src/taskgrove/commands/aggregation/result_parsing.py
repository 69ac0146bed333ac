"""The result that a producer sent, made into a code and a message.

Devices of several generations answer in a dozen forms. Whatever comes, nothing here
raises: a result that cannot be understood becomes ``ResultCode.UNKNOWN`` and a short message
that describes it. Every function is pure and may be called by any thread.
"""

from __future__ import annotations

import ast
import json
import re
from enum import Enum
from typing import Any, Final, cast

import msgspec

from taskgrove.commands.aggregation.json_beginning import ends_too_early
from taskgrove.commands.aggregation.messages import CUT_MARK, MESSAGE_LIMIT, cut_message
from taskgrove.commands.aggregation.plain_values import describe, plain, single, text_of
from taskgrove.control_model import ResultCode, TaskStatus, as_task_status

#: A text longer than this is not decoded whole: its code is read off its head.
DECODE_LIMIT: Final = 1_000_000
#: A code, by name or number, is no longer than this, blanks around it included.
_WORD_LIMIT: Final = 200

_CODES: Final[dict[Any, ResultCode]] = {int(code): code for code in ResultCode}
_NAMES: Final[dict[str, ResultCode]] = {
    f"{head}{code.name}": code for code in ResultCode for head in ("", "ResultCode.")
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,9}")

# A printed pair: (3, 'boom'), (<ResultCode.FAILED: 3>, "boom"), [array([3], dtype=int32), ['x']].
# Every run of blanks is possessive, so that no text makes the match backtrack for long.
_CODE_WORD: Final = (
    r"(?:<(?P<enum>\w+)\.(?P<member>\w+):\s*+-?\d+>|(?P<dotted>\w+\.\w+)"
    r"|(?:np\.\w+\()?(?P<number>[+-]?\d++)\)?|(?P<truth>True|False)|'(?P<name>\w+)')"
)
_TEXT_WORD: Final = r"""(?P<text>'(?:[^'\\]++|\\.)*+'|"(?:[^"\\]++|\\.)*+"|None)"""
_PRINTED_PAIR: Final = re.compile(
    rf"[\[(]\s*+(?:array\(\s*+)?[\[(]?\s*+{_CODE_WORD}\s*+,?[\])]?"
    rf"(?:\s*+,\s*+dtype=[\w.']++)?\s*+\)?"
    rf"\s*+,\s*+[\[(]?\s*+{_TEXT_WORD}\s*+,?\s*+[\])]?\s*+,?\s*+[\])]",
    re.DOTALL,
)
_HEAD_OF_PAIR: Final = re.compile(
    r"\s*+[\[(]\s*+[\[(]?\s*+(?P<number>\d{1,3})\s*+[\])]?\s*+,\s*+[\[(]?\s*+['\"]?"
)

#: Where a JSON object or a list that could be a result begins; other words in brackets do not.
_BEGINS_AS_JSON: Final = re.compile(r"""\s*+(?:\{\s*+(?:$|")|\[\s*+(?:$|[-0-9"\[{]))""")


class ParsedResult(msgspec.Struct, frozen=True, gc=False):
    """A result, understood.

    Attributes:
        code: The result code; None for a value that is no result.
        message: The text that came with it; empty when there was none.
        acknowledged: The status of an acknowledgement ("your command is queued"), which is
            no result; None for a result.
    """

    code: ResultCode | None
    message: str = ""
    acknowledged: TaskStatus | None = None


_NOTHING: Final = ParsedResult(None)


def parse_result(value: Any) -> ParsedResult:
    """Return the code and the message of ``value``; never raises.

    Args:
        value: A pair (code, message) as tuple, list, JSON, printed text or nested arrays;
            a code as enum, integer, name or bool; any other text is a message of an older
            device, with code OK. None means "not given".
    """
    parsed = parse_whole(value)
    if len(parsed.message) <= MESSAGE_LIMIT:
        return parsed
    return ParsedResult(parsed.code, cut_message(parsed.message), parsed.acknowledged)


def read_result(value: Any) -> tuple[ResultCode | None, str]:
    """Return the code and the message that :func:`parse_result` finds; never raises."""
    if type(value) is tuple and len(value) == 2:  # nearly every result
        code, message = value
        if type(code) is ResultCode and type(message) is str and len(message) <= MESSAGE_LIMIT:
            return value
    parsed = parse_result(value)
    return parsed.code, parsed.message


def parse_whole(value: Any) -> ParsedResult:
    """Return the same as :func:`parse_result`, with the whole message; never raises.

    Args:
        value: As :func:`parse_result` takes it.
    """
    kind = type(value)
    if kind is tuple and len(value) == 2:
        code, message = value
        if type(code) is ResultCode and type(message) is str:
            return ParsedResult(code, message)
    elif kind is ResultCode:
        return ParsedResult(value)
    elif value is None:
        return _NOTHING
    try:
        return _parse(value)
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return ParsedResult(ResultCode.UNKNOWN, f"unusable result: {describe(value)}")


def _parse(value: Any) -> ParsedResult:
    status = _acknowledgement(value)
    if status is not None:
        return ParsedResult(None, "", status)
    value = plain(value)
    if isinstance(value, str):
        return _parse_text(str(value))
    if isinstance(value, (tuple, list)):
        if len(value) == 2:
            return _parse_pair(value[0], value[1])
        code = None
    else:
        code = _code(value)
    if code is None:
        return ParsedResult(ResultCode.UNKNOWN, f"unusable result: {describe(value)}")
    return ParsedResult(code)


def _parse_pair(first: Any, second: Any) -> ParsedResult:
    first, message = single(first), text_of(second)
    status = _acknowledgement(first)
    if status is not None:
        return ParsedResult(None, message, status)
    code = _code(first)
    if code is not None:
        return ParsedResult(code, message)
    came = f"unknown result code: {describe(first)}"
    return ParsedResult(ResultCode.UNKNOWN, f"{came}: {message}" if message else came)


def _parse_text(text: str) -> ParsedResult:
    return (
        _parse_word(text)
        or _parse_printed(text)
        or _parse_beginning(text)
        or ParsedResult(ResultCode.OK, text)
    )


def _parse_word(text: str) -> ParsedResult | None:
    """Return the code that a text consists of, by name or number, or None."""
    code = _code(text) if len(text) <= _WORD_LIMIT else None
    return None if code is None else ParsedResult(code)


def _parse_printed(text: str) -> ParsedResult | None:
    """Return the pair that a text holds, as JSON or as Python prints it, or None."""
    head = text[:_WORD_LIMIT].lstrip()[:1]
    if head not in ("[", "(", '"') or not head:
        return None
    if len(text) > DECODE_LIMIT:
        return _oversize_pair(text)
    text = text.strip()
    decoded = _decode_json(text) if head != "(" else None
    if isinstance(decoded, str) and decoded[:1] != '"':
        # A text that was encoded once more on its way.
        return _parse_text(decoded)
    if isinstance(decoded, list):
        if len(decoded) != 2 or not _may_be_code(decoded[0]):
            return None
        return _parse_pair(decoded[0], decoded[1])
    return _python_pair(text)


def _parse_beginning(text: str) -> ParsedResult | None:
    """Return UNKNOWN for a text that is the beginning of a JSON text and nothing else, or None."""
    if _BEGINS_AS_JSON.match(text) is None or not ends_too_early(text[:DECODE_LIMIT]):
        return None
    if len(text) > DECODE_LIMIT and text.rstrip()[-1] in "]}":
        return None  # it has an end like one that is whole
    return ParsedResult(ResultCode.UNKNOWN, f"unusable result: JSON that is cut off: {text[:80]!r}")


def _decode_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _python_pair(text: str) -> ParsedResult | None:
    """Return the pair that a Python ``repr`` shows, or None; nothing is evaluated but a string."""
    found = _PRINTED_PAIR.fullmatch(text)
    if found is None:
        return None
    first = _printed_code(found)
    message = "" if found["text"] == "None" else _string_literal(found["text"])
    return None if first is None or message is None else _parse_pair(first, message)


def _printed_code(found: re.Match[str]) -> TaskStatus | str | bool | int | None:
    """Return the code in a printed pair; None when it was not meant as one."""
    if found["truth"]:
        return found["truth"] == "True"
    if found["number"]:
        return int(found["number"][:12])
    if found["enum"]:
        kind, name = found["enum"], found["member"]
    else:
        kind, _, name = (found["dotted"] or f"ResultCode.{found['name']}").rpartition(".")
    if kind == "TaskStatus":
        return _known_status(name)
    return f"{kind}.{name}" if found["enum"] or name in _NAMES else None


def _string_literal(word: str) -> str | None:
    try:
        return cast(str, ast.literal_eval(word))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _oversize_pair(text: str) -> ParsedResult | None:
    """Return the code of a pair too large to decode, with the head of its text, or None."""
    found = _HEAD_OF_PAIR.match(text)
    if found is None:
        return None
    end = found.end() + MESSAGE_LIMIT - len(CUT_MARK)
    return _parse_pair(int(found["number"]), text[found.end() : end] + CUT_MARK)


def _may_be_code(value: Any) -> bool:
    """Whether the first of a decoded pair was meant as a code; two plain words were not."""
    value = single(value)
    if isinstance(value, str):
        return value in _NAMES or _INTEGER.fullmatch(value.strip()) is not None
    return isinstance(value, (int, float))


def _code(value: Any) -> ResultCode | None:
    if isinstance(value, bool):
        return ResultCode.OK if value else ResultCode.FAILED
    if isinstance(value, (int, float)):
        return _CODES.get(value)
    if isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            return _CODES.get(int(text))
        return _NAMES.get(text)
    if isinstance(value, Enum):
        return _NAMES.get(value.name) if type(value).__name__ == "ResultCode" else None
    index = getattr(value, "__index__", None)
    return _CODES.get(index()) if callable(index) else None


def _acknowledgement(value: Any) -> TaskStatus | None:
    """Return the status when ``value`` is a TaskStatus, ours or a foreign one."""
    if isinstance(value, TaskStatus):
        return value
    if isinstance(value, Enum) and type(value).__name__ == "TaskStatus":
        return _known_status(value)
    return None


def _known_status(value: Any) -> TaskStatus:
    """Return the status that an acknowledgement tells; another package's own one is QUEUED."""
    status = as_task_status(value)
    return TaskStatus.QUEUED if status is None else status
