"""The strict task callback of the field's component managers, as a completed callback."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from taskgrove.control_model import ResultCode, as_task_status
from taskgrove.errors import TaskgroveError
from taskgrove.foreign_code import LOGGING

_LOGGER = logging.getLogger(__name__)

#: The package of the field's own enums. Its base classes refuse any other, equal ones too.
_FIELD_PACKAGE: Final = "ska_control_model"


def as_task_callback(
    callback: Callable[..., object], *, status_type: type[Enum] | None = None
) -> Callable[..., None]:
    """Adapt a strict ``(status, progress, result, exception)`` callback to payloads.

    Component managers of the field take exactly these keywords. Only known values are
    passed; a result only with a final status, because they take it for the end. Base classes
    of devices refuse every enum but their own, so statuses and codes are handed out as those
    of ``ska_control_model``, where that package can be imported.

    Args:
        callback: Called as ``callback(status=..., progress=..., result=..., exception=...)``.
        status_type: The enum of statuses that the callback takes; codes are then those of
            ``ResultCode`` in the same module, where there is one.
    """
    status_type, code_type = _enums(status_type)

    def adapted(**payload: Any) -> None:
        strict: dict[str, Any] = {}
        status = payload.get("status")
        known = as_task_status(status)
        if status is not None:
            strict["status"] = status if known is None else _as(status_type, known)
        if payload.get("progress") is not None:
            strict["progress"] = payload["progress"]
        if known is not None and known.is_final and payload.get("result") is not None:
            strict["result"] = _with_code(code_type, payload["result"])
        errors = payload.get("error")
        if errors:
            first = errors[0] if isinstance(errors, (tuple, list)) else errors
            if not isinstance(first, BaseException):
                first = TaskgroveError(str(getattr(first, "desc", first)))
            strict["exception"] = first
        callback(**strict)

    return adapted


def _enums(status_type: type[Enum] | None) -> tuple[type[Enum] | None, type[Enum] | None]:
    """Return the enums of statuses and of codes to hand out; None stands for ours."""
    if status_type is not None:
        module = sys.modules.get(status_type.__module__)
    else:
        module = _field_package()
        status_type = _enum_of(module, "TaskStatus")
    return status_type, _enum_of(module, "ResultCode")


def _field_package() -> Any:
    try:
        return importlib.import_module(_FIELD_PACKAGE)
    except ImportError:
        return None
    except Exception:
        with LOGGING:
            _LOGGER.exception("%s cannot be imported; our own enums are used", _FIELD_PACKAGE)
        return None


def _enum_of(module: Any, name: str) -> type[Enum] | None:
    found = getattr(module, name, None)
    return found if isinstance(found, type) and issubclass(found, Enum) else None


def _as(kind: type[Enum] | None, member: Enum) -> Enum:
    """Return the member of an enum that has the name of ours, or else its value."""
    if kind is None:
        return member
    named = kind.__members__.get(member.name)
    if named is not None:
        return named
    try:
        return kind(member.value)
    except ValueError:
        return member


def _with_code(kind: type[Enum] | None, result: Any) -> Any:
    if isinstance(result, (tuple, list)) and len(result) == 2:
        code, message = result
        if isinstance(code, ResultCode):
            return (_as(kind, code), message)
    return _as(kind, result) if isinstance(result, ResultCode) else result
