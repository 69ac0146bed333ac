"""The classes whose objects a reader of the plain form makes again.

Data never causes an import: an object is written with the name of its class, and only a class
that the reader has registered is made again. Objects of other classes stay plain data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from taskgrove.analysis.drawn_page import AttachedFile, DrawnPage
from taskgrove.analysis.payload_reference import PayloadReference
from taskgrove.analysis.results import (
    DescribedAnalysis,
    ElogSummaryPlots,
    TaskResult,
    TaskStatus,
)
from taskgrove.errors import AnalysisError
from taskgrove.events.foreign_values import field_names, has_fields

#: The key that names the class of an object which the reader does not know.
CLASS_KEY: Final = "__class__"


def class_name(kind: type) -> str:
    """Return the name under which objects of a class are written."""
    return f"{kind.__module__}.{kind.__qualname__}"


class PlainTypes:
    """A set of classes by name.

    Not guarded by a lock: register before other threads read.

    Args:
        classes: Enums, dataclasses, pydantic models, named tuples and msgspec structs.
    """

    def __init__(self, classes: Iterable[type] = ()) -> None:
        self._classes: dict[str, type] = {}
        for kind in (*_BASIC, *classes):
            self.register(kind)

    def register(self, kind: type, *, name: str | None = None) -> None:
        """Have objects of a class made again.

        Args:
            kind: The class.
            name: A former name of it, for data that was written under that; None: its own.

        Raises:
            AnalysisError: It is no class whose objects have fields.
        """
        if not (isinstance(kind, type) and (issubclass(kind, Enum) or has_fields(kind))):
            raise AnalysisError(
                f"{kind!r} cannot be read from plain data",
                hint="register an enum, a dataclass, a pydantic model or a named tuple",
            )
        self._classes[name or class_name(kind)] = kind

    def find(self, name: str) -> type | None:
        """Return the class of that name, or None where it is not registered."""
        return self._classes.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._classes


_BASIC: Final = (
    TaskStatus, TaskResult, DescribedAnalysis, ElogSummaryPlots, PayloadReference, DrawnPage,
    AttachedFile,
)  # fmt: skip


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of an object, in their order, with their values."""
    found = {name: getattr(value, name) for name in field_names(type(value))}
    return {**found, **(getattr(value, "__pydantic_extra__", None) or {})}


def make_object(kind: type, fields: Mapping[str, Any]) -> Any:
    """Return an object of a registered class with these fields; its own checks run.

    Raises:
        ValueError: The class does not take them.
        TypeError: A field is missing, or is not one of its.
    """
    model: Any = kind
    if getattr(kind, "__pydantic_root_model__", False):
        return model.model_validate(fields["root"])
    if hasattr(kind, "__pydantic_fields__"):
        return model.model_validate(_by_alias(model, fields))
    if not dataclasses.is_dataclass(kind):
        return model(**fields)
    later = {item.name for item in dataclasses.fields(kind) if not item.init}
    made = model(**{name: value for name, value in fields.items() if name not in later})
    for name in later & fields.keys():
        object.__setattr__(made, name, fields[name])
    return made


def _by_alias(model: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields under the names that the model's validation asks for."""
    config = model.model_config
    if config.get("populate_by_name") or config.get("validate_by_name"):
        return dict(fields)
    named = dict(fields)
    for name, info in model.__pydantic_fields__.items():
        if isinstance(info.validation_alias, str) and name in named:
            named[info.validation_alias] = named.pop(name)
    return named
