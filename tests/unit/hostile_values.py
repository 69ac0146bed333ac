"""Values that no well-meaning producer sends: each refuses what code takes for granted."""

from __future__ import annotations

from typing import Any, NoReturn


class RefusalError(Exception):
    """Raised by hostile values; it cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("this error refuses to be printed")

    __repr__ = __str__


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise RefusalError


class Hostile:
    """Raises for whatever it is asked; only its identity works."""

    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __str__ = __repr__ = __bool__ = __len__ = __iter__ = _refuse
    __int__ = __index__ = __float__ = __contains__ = __getitem__ = _refuse
    __format__ = __call__ = _refuse

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __getattr__(self, name: str) -> Any:
        raise RefusalError


class Unhashable(Hostile):
    """Hostile, and no key either."""

    def __hash__(self) -> int:
        raise RefusalError


class LyingClass:
    """Raises when it is asked for its class."""

    @property
    def __class__(self) -> Any:
        raise RefusalError


class EndlessNames:
    """An iterable without an end."""

    def __iter__(self) -> Any:
        while True:
            yield "a/b/c"
