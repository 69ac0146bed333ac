"""Properties of a parameter beside its type: unit, description, flag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from pydantic import Field

from taskgrove.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FlagType: TypeAlias = Literal["", "-", "--"]
ListStyle: TypeAlias = Literal["repeat", "values", "comma"]


def Parameter(  # noqa: N802 - reads like pydantic's Field, which it is
    default: Any = ...,
    *,
    description: str | None = None,
    unit: str | None = None,
    flag_type: FlagType | None = None,
    rename_param: str | None = None,
    is_result: bool = False,
    list_style: ListStyle = "repeat",
    default_factory: Callable[[], Any] | None = None,
    **constraints: Any,
) -> Any:
    """Return a field of a :class:`TaskParameters` class.

    Args:
        default: Its default; without one, and without ``default_factory``, it is required.
        description: Its meaning, for ``--help-task``.
        unit: Its unit, such as ``mm``; None where it has none.
        flag_type: Its form on a command line: ``-`` (``-n 1``), ``--`` (``--name 1``), the
            empty text (the value alone), or None: ``p_arg…`` alone, a name of one letter with
            ``-``, all others with ``--``.
        rename_param: Its name on the command line, where that is not the field's own.
        is_result: Whether its value, such as the name of the output file, is the result.
        list_style: The form of a list on a command line: the flag before each value, the flag
            once before all values, or one value joined by commas.
        default_factory: A function that makes the default, in place of ``default``.
        **constraints: Further arguments of pydantic's ``Field``: ``ge``, ``le``, ``pattern``, ...

    Raises:
        UsageError: ``flag_type`` or ``list_style`` is none of these.
    """
    info = ParameterInfo(unit, flag_type, rename_param, is_result, list_style)
    said = {name: getattr(info, name) for name in _KEYS}
    extra = {name: value for name, value in said.items() if value != getattr(UNDECLARED, name)}
    extra |= constraints.pop("json_schema_extra", None) or {}
    if default_factory is not None:
        constraints["default_factory"] = default_factory
    else:
        constraints["default"] = default
    return Field(description=description, json_schema_extra=extra or None, **constraints)


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """The properties of a field; see :func:`Parameter`.

    Attributes:
        unit: Its unit, or None.
        flag_type: Its form on a command line, or None where the name decides.
        rename_param: Its name on the command line, or None for the field's own.
        is_result: Whether its value is the result.
        list_style: The form of a list on a command line.
    """

    unit: str | None = None
    flag_type: FlagType | None = None
    rename_param: str | None = None
    is_result: bool = False
    list_style: ListStyle = "repeat"

    def __post_init__(self) -> None:
        if self.flag_type not in {None, *get_args(FlagType)}:
            raise UsageError(f"flag_type is '-', '--' or '', not {self.flag_type!r}")
        if self.list_style not in get_args(ListStyle):
            known = get_args(ListStyle)
            raise UsageError(f"list_style is one of {known}, not {self.list_style!r}")


#: The properties of a key that no field of the class declares.
UNDECLARED: Final = ParameterInfo()
_KEYS: Final = tuple(ParameterInfo.__slots__)


def info_of(field: FieldInfo) -> ParameterInfo:
    """Return the properties of a field, however it was declared.

    Raises:
        UsageError: ``flag_type`` or ``list_style`` has an unknown value.
    """
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        return UNDECLARED
    said: dict[str, Any] = {key: extra[key] for key in _KEYS if extra.get(key) is not None}
    return ParameterInfo(**said)
