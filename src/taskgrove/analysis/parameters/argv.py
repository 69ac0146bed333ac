"""The command line of a third-party program, made of its validated parameters.

Each value is exactly one argument: spaces, line ends, quotes and ``;`` have no meaning, and no
shell is used. Left out are only: a value None, an empty text that is also the default, and a flag
that is False.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr

from taskgrove.analysis.parameters.base import (
    TemplateConfig,
    TemplateParameters,
    ThirdPartyParameters,
)
from taskgrove.analysis.parameters.field import UNDECLARED, ParameterInfo, info_of
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.written import written_text
from taskgrove.errors import AnalysisError

_POSITIONAL = re.compile(r"p_arg(\d*)")
_NEVER_ARGUMENTS: Final = (AnalysisHeader, TemplateConfig, TemplateParameters)
_LISTS: Final = (list, tuple, AbstractSet)


class _Given(NamedTuple):
    """A parameter that may be on the command line."""

    name: str
    value: Any
    info: ParameterInfo


def render_argv(params: ThirdPartyParameters) -> list[str]:
    """Return the command line of a program: the program, then one text for each argument.

    ``~`` at the beginning of the program is the user's home. Positional values (``p_arg1``,
    ``p_arg2``, ...) fill the places at which they are declared, in the order of their numbers.

    Args:
        params: The validated parameters.

    Raises:
        AnalysisError: A value cannot be an argument: a mapping, or a text with a zero byte; the
            error names its key.
    """
    given = [item for item in _given(params) if not _is_left_out(params, item)]
    numbered = iter(
        sorted((item for item in given if _number(item) is not None), key=lambda i: _number(i) or 0)
    )
    argv = [os.path.expanduser(_text("executable", params.executable))]
    for slot in given:
        item = slot if _number(slot) is None else next(numbered)
        argv += _arguments(item, type(params))
    return argv


def _given(params: ThirdPartyParameters) -> Iterator[_Given]:
    """Yield the parameters that may be on the command line: declared fields, then other keys.

    With a template, its data are not among them: structured fields, and keys that are not declared.
    """
    fields = {name: getattr(params, name) for name in type(params).model_fields}
    has_template = any(isinstance(value, TemplateConfig) for value in fields.values())
    for name, value in fields.items():
        is_data = isinstance(value, _NEVER_ARGUMENTS) or (has_template and _is_structured(value))
        if name != "executable" and not is_data:
            value = value.model_dump() if isinstance(value, BaseModel) else value  # noqa: PLW2901
            yield _Given(name, value, info_of(type(params).model_fields[name]))
    if not has_template:
        for name, value in (params.model_extra or {}).items():
            yield _Given(name, value, UNDECLARED)


def _is_structured(value: Any) -> bool:
    """Return whether a value is a model or a mapping, or a list that holds some."""
    if isinstance(value, _LISTS):
        return any(map(_is_structured, value))
    if isinstance(value, RootModel):
        return _is_structured(value.root)
    return isinstance(value, (BaseModel, Mapping))


def _is_left_out(params: ThirdPartyParameters, item: _Given) -> bool:
    if item.value is None:
        return True
    if item.value == "" and isinstance(item.value, str):
        field = type(params).model_fields.get(item.name)
        return field is not None and field.get_default(call_default_factory=True) == ""
    return False


def _number(item: _Given) -> int | None:
    """Return the number of a positional value, or None where it has none."""
    match = _POSITIONAL.fullmatch(item.name)
    if match is None or not match[1] or item.info.flag_type:
        return None
    return int(match[1])


def flag_of(name: str, info: ParameterInfo) -> str:
    """Return how a parameter is announced on the command line; empty for a positional one."""
    kind = info.flag_type
    if kind is None:
        kind = "" if _POSITIONAL.match(name) else "-" if len(name) == 1 else "--"
    return f"{kind}{info.rename_param or name}" if kind else ""


def _arguments(item: _Given, kind: type[ThirdPartyParameters]) -> list[str]:
    name, value, info = item
    flag = flag_of(name, info)
    is_joined = kind.long_flags_use_eq if flag.startswith("--") else kind.short_flags_use_eq
    if isinstance(value, bool) and flag:
        return [flag] if value else []
    if isinstance(value, _LISTS):
        items = sorted(value, key=repr) if isinstance(value, AbstractSet) else list(value)
        texts = [_text(f"{name}[{index}]", part) for index, part in enumerate(items)]
        if info.list_style == "comma" and texts:
            if any("," in text for text in texts):
                raise AnalysisError(
                    f"the parameter {name!r} is joined by commas, and a value of it holds one",
                    key=name,
                    hint="use list_style 'repeat' or 'values'",
                )
            texts = [",".join(texts)]
        if info.list_style == "values" and flag and not is_joined:
            return [flag, *texts] if texts else []
        return [part for text in texts for part in _with_flag(flag, text, is_joined)]
    return _with_flag(flag, _text(name, value), is_joined)


def _with_flag(flag: str, text: str, is_joined: bool) -> list[str]:
    if not flag:
        return [text]
    return [f"{flag}={text}"] if is_joined else [flag, text]


def _text(key: str, value: Any) -> str:
    """Return a single value as the text of one argument."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, RootModel):
        value = value.root
    if isinstance(value, (SecretStr, SecretBytes)):
        value = value.get_secret_value()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        value = value.isoformat()
    if value is None or isinstance(value, (BaseModel, Mapping, *_LISTS)):
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise AnalysisError(
            f"the parameter {key!r} is {kind}, which cannot be one argument",
            key=key,
            hint="give texts and numbers, or make it data of a template",
        )
    text = written_text(value)
    if "\0" in text:
        raise AnalysisError(f"the parameter {key!r} holds a zero byte", key=key)
    try:
        os.fsencode(text)
    except UnicodeEncodeError as exc:
        raise AnalysisError(f"the parameter {key!r} holds half a character", key=key) from exc
    return text
