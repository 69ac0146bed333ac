"""Public names that are imported when they are first asked for.

A package names them twice: under ``TYPE_CHECKING``, for readers and type checkers, and in a
dict from name to module. So ``import taskgrove`` stays quick (the process of every analysis
pays for it), and no extra is needed before something of it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from taskgrove.errors import MissingExtraError


class LaterModule:
    """A module that is imported when one of its names is first asked for.

    It stands for the imports of a type checker in a module whose annotations may be read when the
    program runs (``typing.get_type_hints``). A type of a library that is not installed is Any.

    Args:
        name: The module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(import_module(self._name), name)
        except ImportError:
            return Any


def lazy_exports(
    namespace: dict[str, Any], later: Mapping[str, str], *, extra: tuple[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        namespace: The package's ``globals()``.
        later: The module of each public name.
        extra: The extra that the modules need, and what needs it, in words; None: none.

    Returns:
        Two functions. The first raises AttributeError for a name that is not in ``later``, and
        MissingExtraError where the extra is not installed.
    """
    package = namespace["__name__"]
    namespace["__all__"] = sorted(later)  # else a star would bring nothing

    def get(name: str) -> Any:
        module = later.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            found = getattr(import_module(module), name)
        except ModuleNotFoundError as exc:
            if extra is None or (exc.name or "").startswith("taskgrove"):
                raise
            raise MissingExtraError(*extra) from exc
        namespace[name] = found
        return found

    return get, lambda: sorted({*namespace, *later})
