"""The value of one parameter, from the text that a user typed.

The type of the parameter decides first: for a text parameter, the typed text is the value, even
if YAML would read another value (``yes``, ``0001``, ``a: b``, ``#12``). Everything else reads as
in a configuration.
"""

from __future__ import annotations

import datetime as dt
import types
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from taskgrove.analysis.configuring.config_text import LIMITS, scalar
from taskgrove.analysis.parameters.base import TemplateConfig
from taskgrove.commands.command_map.document import read_yaml_documents
from taskgrove.commands.command_map.nodes import to_data
from taskgrove.commands.command_map.problems import Problems
from taskgrove.errors import MapError

if TYPE_CHECKING:
    from taskgrove.analysis.parameters.base import TaskParameters

_UNIONS: Final = (Union, types.UnionType)
#: Types of values that YAML has of its own; of all others (paths, dates, secrets) a text is given.
_YAML_TYPES: Final = (bool, int, float, type(None), list, tuple, dict, set, frozenset)
_NOTHING: Final = frozenset({"null", "Null", "NULL", "~"})


def typed_value(model: type[TaskParameters], key: str, text: str) -> Any:
    """Return the value that was typed for a parameter.

    A value that the parameter does not accept is returned as a configuration would read it: the
    check of all parameters reports the error.

    Args:
        model: The class of the parameters.
        key: The parameter, by its name or its alias.
        text: The typed text.
    """
    fields = model.model_fields
    field = next((fields[name] for name in fields if key in {name, fields[name].alias}), None)
    if field is None:  # an argument, or data of a template
        value = _read(text, scalar)
        is_data = any(TemplateConfig in _members(item.annotation) for item in fields.values())
        return text if isinstance(value, dict) and not is_data else value
    members = list(_members(field.annotation))
    others = [member for member in members if not _is_text(member)]
    if not others:
        return text
    if text in {"", "~"} and len(others) < len(members):
        return text  # nothing is written as null there: ~ is a folder
    read = [_read(text, scalar), _read(text, str)]
    if len(others) < len(members):  # texts are accepted, too: only an exact fit comes first
        fitting = (value for value in read if any(_fits(value, kind, True) for kind in others))
        return next(fitting, text)
    return next((value for value in read if _fits(value, field.annotation, False)), read[0])


def _read(text: str, how: Callable[[str], Any]) -> Any:
    """Return the value of a text in a configuration; the text itself if it is no YAML."""
    try:
        trees = read_yaml_documents(text, Problems(None), LIMITS, scalar=how, max_documents=1)
    except MapError:
        return text  # a text with signs of its own, such as a format
    value = None if not trees or trees[0] is None else to_data(trees[0])
    if isinstance(value, str) or (value is None and text.strip() not in _NOTHING):
        return text  # with its quotes, and with comments of YAML
    return value


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the types of which one is asked for."""
    if isinstance(annotation, (list, tuple)):
        return
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in _UNIONS:
        for part in get_args(annotation):
            yield from _members(part)
    elif origin is Literal:
        for value in get_args(annotation):
            yield str if isinstance(value, str) else Literal[value]
    elif hasattr(annotation, "__supertype__"):
        yield from _members(annotation.__supertype__)
    elif hasattr(annotation, "__value__"):  # a named type
        yield from _members(annotation.__value__)
    else:
        yield annotation


def _is_text(kind: Any) -> bool:
    """Return whether a value of a type is given as a text."""
    origin = get_origin(kind) or kind
    if not isinstance(origin, type) or origin in {object, Any}:
        return False
    if issubclass(origin, Enum):
        return all(isinstance(item.value, str) for item in origin)
    if issubclass(origin, (str, dt.date, dt.time)):
        return True
    is_model = issubclass(origin, BaseModel) or hasattr(origin, "__dataclass_fields__")
    return not (
        is_model or issubclass(origin, _YAML_TYPES) or origin.__module__ == "collections.abc"
    )


def _fits(value: Any, kind: Any, exactly: bool) -> bool:
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)  # exactly: only its own members
    try:
        TypeAdapter(kind).validate_python(value, strict=exactly and not is_enum)
    except (ValidationError, PydanticUserError):
        return False
    return True
