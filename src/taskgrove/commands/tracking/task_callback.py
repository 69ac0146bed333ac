"""The strict task callback of the field's component managers, as a completed callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskgrove.control_model import as_task_status
from taskgrove.errors import TaskgroveError


def as_task_callback(callback: Callable[..., object]) -> Callable[..., None]:
    """Adapt a strict ``(status, progress, result, exception)`` callback to payloads.

    Component managers of the field take exactly these keywords. Only what is known is
    passed; a result only with a final status, because they take it for the end.

    Args:
        callback: Called as ``callback(status=..., progress=..., result=..., exception=...)``.
    """

    def adapted(**payload: Any) -> None:
        strict: dict[str, Any] = {}
        status = payload.get("status")
        if status is not None:
            strict["status"] = status
        if payload.get("progress") is not None:
            strict["progress"] = payload["progress"]
        known = as_task_status(status)
        if known is not None and known.is_final and payload.get("result") is not None:
            strict["result"] = payload["result"]
        errors = payload.get("error")
        if errors:
            first = errors[0] if isinstance(errors, (tuple, list)) else errors
            if not isinstance(first, BaseException):
                first = TaskgroveError(str(getattr(first, "desc", first)))
            strict["exception"] = first
        callback(**strict)

    return adapted
