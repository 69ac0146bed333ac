"""The parameters of an analysis, described for people who write a configuration."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from taskgrove.analysis.parameters.argv import flag_of
from taskgrove.analysis.parameters.base import (
    TaskParameters,
    TemplateConfig,
    TemplateParameters,
    ThirdPartyParameters,
)
from taskgrove.analysis.parameters.field import info_of
from taskgrove.analysis.parameters.header import AnalysisHeader, is_header_field

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_WORDS: Final[dict[Any, str]] = {
    str: "text", int: "whole number", float: "number", bool: "true or false",
    type(None): "nothing", Any: "anything", list: "list", dict: "mapping", tuple: "list",
    TemplateParameters: "data for the template", AnalysisHeader: "the header",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ParameterDoc:
    """One parameter, for people.

    Attributes:
        name: Its key in the configuration; ``outer.inner`` for one inside another.
        type: Its type in words.
        default: Its default in the form of a configuration; None where it is required.
        unit: Its unit, or None.
        description: Its meaning and the limits of its value, or the empty text.
        required: Whether it must be given.
        flag: Its flag on the command line of a third-party program; the empty text for a
            positional value; None where it is never on the command line.
    """

    name: str
    type: str
    default: str | None
    unit: str | None
    description: str
    required: bool
    flag: str | None


def describe_parameters(
    parameters: type[TaskParameters], *, executable: str | None = None
) -> list[ParameterDoc]:
    """Return all parameters of an analysis, in the order of their declaration.

    Args:
        parameters: The class of its parameters.
        executable: The program that the registry names where the parameters do not.
    """
    return list(_described(parameters, "", executable))


def _described(
    model: type[BaseModel], prefix: str, executable: str | None
) -> typing.Iterator[ParameterDoc]:
    has_flags = not prefix and issubclass(model, ThirdPartyParameters)
    for name, field in model.model_fields.items():
        if is_header_field(field):
            continue
        key = f"{prefix}{field.alias or name}"
        info = info_of(field)
        has_default = not field.is_required()
        default = _shown_default(field)
        if name == "executable" and executable is not None and not has_default:
            has_default, default = True, executable
        inner = _model_in(field.annotation)
        yield ParameterDoc(
            name=key,
            type=type_words(field.annotation),
            default=default if has_default else None,
            unit=info.unit,
            description=_sentence(field),
            required=not has_default,
            flag=flag_of(name, info) if has_flags and inner is None and name != "executable" and
            field.annotation is not TemplateParameters else None,
        )  # fmt: skip
        if inner is not None and len(key) < 200:
            yield from _described(inner, f"{key}.", executable)


def type_words(annotation: Any) -> str:
    """Return a type as words for people: ``whole number``, ``list of texts``, ``one of a, b``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        words = _WORDS[annotation]
    elif origin is typing.Annotated:
        words = type_words(args[0])
    elif origin is Literal:
        words = "one of " + ", ".join(str(item) for item in args)
    elif origin in {Union, types.UnionType}:
        words = " or ".join(dict.fromkeys(type_words(item) for item in args))
    elif args:
        words = _collection_words(origin, args)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        words = "one of " + ", ".join(str(item.value) for item in annotation)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        words = "mapping"
    else:
        name = getattr(annotation, "__name__", str(annotation))
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return words


def _collection_words(origin: Any, args: tuple[Any, ...]) -> str:
    items = [type_words(item) for item in args if item is not Ellipsis]
    if origin is dict:
        return f"mapping of {items[0]} to {items[1]}"
    if origin is tuple and Ellipsis not in args:
        return f"list of {len(items)}: {', '.join(items)}"
    if origin in {list, tuple, set, frozenset}:
        return f"list of {items[0]}"
    return str(origin).rpartition(".")[2]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model whose keys are below a parameter, or None."""
    found = [item for item in (annotation, *get_args(annotation)) if isinstance(item, type)]
    for item in found:
        if issubclass(item, BaseModel) and item not in {TemplateParameters, AnalysisHeader}:
            return item if item is TemplateConfig or item.model_fields else None
    return None


def _shown_default(field: FieldInfo) -> str:
    if field.default_factory in {list, dict, tuple}:
        return str(field.get_default(call_default_factory=True))
    if field.default_factory is not None:
        return "made anew for each run"
    value = field.default
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    return repr(value) if isinstance(value, str) else str(value)


def _sentence(field: FieldInfo) -> str:
    """Return the meaning of a parameter, and the limits of its value."""
    limits = [
        f"{sign} {value}"
        for rule in field.metadata
        for name, sign in _SIGNS.items()
        if (value := getattr(rule, name, None)) is not None
    ]
    said = field.description or ""
    return f"{said} ({', '.join(limits)})".strip() if limits else said


_SIGNS: Final[dict[str, str]] = {
    "gt": ">", "ge": "≥", "lt": "<", "le": "≤", "multiple_of": "a multiple of",
    "min_length": "at least", "max_length": "at most", "pattern": "like",
}  # fmt: skip
