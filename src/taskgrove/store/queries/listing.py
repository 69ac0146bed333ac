"""Lists of typed rows that become a pandas DataFrame where pandas is installed."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from taskgrove.errors import MissingExtraError
from taskgrove.events.foreign_values import field_names

Row = TypeVar("Row")


class Listing(list[Row]):
    """A list of frozen rows: dataclasses or structs."""

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one line a row, its columns named as the fields.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return frame_of([row_of(item) for item in self])


def row_of(item: Any) -> dict[str, Any]:
    """Return the fields of a row and its declared further columns (``FRAME_COLUMNS``)."""
    names = [name for name in field_names(type(item)) if not name.startswith("_")]
    row = {name: getattr(item, name) for name in names}
    for name in getattr(type(item), "FRAME_COLUMNS", ()):
        row[name] = getattr(item, name)
    return row


def plain_of(value: Any) -> Any:
    """Return typed values as plain data: enums by name, instants as ISO 8601."""
    fields = _fields_of(value)
    if fields is not None:
        return {str(name): plain_of(item) for name, item in fields.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_of(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.name
    return value.isoformat() if isinstance(value, datetime) else value


def _fields_of(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) or hasattr(type(value), "__struct_fields__"):
        return row_of(value)
    return None


def frame_of(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] | None = None) -> Any:
    """Return rows as a pandas DataFrame.

    Args:
        rows: One mapping a line.
        columns: The columns, where rows may be missing; None takes those of the rows.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        raise MissingExtraError("export", "to_frame()") from exc
    return pd.DataFrame(list(rows), columns=None if columns is None else list(columns))
