"""The problems of a command map, told so that they can be corrected.

The author of a map gets all problems at once: each with the file, the path inside the map, line
and column, the value that was found, the values that are allowed and the nearest name.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from taskgrove.errors import MapError, nearest

#: More problems than this are not listed.
MAX_PROBLEMS: Final = 100
_MAX_PATH_LENGTH: Final = 200


class _Shown(reprlib.Repr):
    """Shows a number whose digits Python does not write, too."""

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if can_be_written(x) else "a number of many digits"


def can_be_written(number: int) -> bool:
    """Return whether Python writes a whole number in digits: it may have some thousand of them."""
    try:
        str(number)
    except ValueError:
        return False
    return True


_SHOW = _Shown()
_SHOW.maxstring = _SHOW.maxother = _SHOW.maxlong = 60
_SHOW.maxlevel = 2


class Mark(NamedTuple):
    """A place in a file, both counted from 1; None for a map that is no file."""

    line: int | None = None
    column: int | None = None


NOWHERE: Final = Mark()


def place_in_file(mark: Mark) -> tuple[int, int]:
    """Return a mark as a pair that can be compared."""
    return mark.line or 0, mark.column or 0


def shown(value: Any) -> str:
    """Return a value as it may stand in a message: escaped, and not long."""
    return _SHOW.repr(value)


def join_path(path: str, key: str | int) -> str:
    """Return the path of ``key`` (of a mapping) or of an index (of a list) below ``path``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    word = key if key and key.isprintable() and not set(key) & set(". []'\"") else f"[{shown(key)}]"
    return word if not path else f"{path}{word}" if word.startswith("[") else f"{path}.{word}"


def _shortened(path: str) -> str:
    if len(path) <= _MAX_PATH_LENGTH:
        return path
    half = _MAX_PATH_LENGTH // 2
    return f"{path[:half]}…{path[-half:]}"


@dataclass(frozen=True, slots=True)
class MapProblem:
    """One thing that is wrong with a map.

    Attributes:
        message: The problem, as a sentence without an end.
        path: The place inside the map, such as ``configure.tasks.pst.timeout``, or empty.
        mark: The place in the file.
        found: The value that was found there.
        allowed: The values that are allowed there.
        hint: Advice, such as the nearest name; or None.
        told_after: The place of another problem that is told first: of a missing key, the last
            unknown key beside it, which may be a misspelling of the missing one.
        nearest: The name that was probably meant, or None.
    """

    message: str
    path: str = ""
    mark: Mark = NOWHERE
    found: Any = None
    allowed: tuple[str, ...] = ()
    hint: str | None = None
    told_after: Mark = NOWHERE
    nearest: str | None = None

    @property
    def order(self) -> tuple[int, int]:
        """The place by which problems are sorted."""
        return max(place_in_file(self.mark), place_in_file(self.told_after))

    def line_for(self, file: str | None) -> str:
        """Return the problem as one line for people, with ``file`` in front of it."""
        place = [str(part) for part in (file, *self.mark) if part is not None]
        if file is None and place:
            place.insert(0, "line")
        parts = [":".join(place), _shortened(self.path), self.message]
        text = ": ".join(part for part in parts if part)
        if self.allowed:
            text += f"; allowed: {', '.join(self.allowed)}"
        return text


@dataclass(slots=True)
class Problems:
    """Collects the problems of one map.

    Attributes:
        file: The file that is read, or None.
        items: The problems, in the order in which they were met.
        doubled: Those of keys that stand twice, of which the last one counts: a reader may take
            them for warnings, and away from here.
        what: A noun for the document: other documents than maps are read by the same means.
    """

    file: str | None = None
    items: list[MapProblem] = field(default_factory=list)
    doubled: list[MapProblem] = field(default_factory=list)
    what: str = "map"

    def add(
        self,
        message: str,
        path: str = "",
        mark: Mark = NOWHERE,
        *,
        allowed: Iterable[str] = (),
        **fields: Any,
    ) -> None:
        """Add a problem; see :class:`MapProblem` for the parameters."""
        self.items.append(MapProblem(message, path, mark, allowed=tuple(allowed), **fields))

    def add_unknown(
        self, what: str, name: str, path: str, mark: Mark, allowed: Sequence[str], hint: str = ""
    ) -> None:
        """Add the problem of a name that is not among the allowed ones, with the nearest."""
        close = nearest(name, allowed)
        advice = (f"did you mean {close!r}?" if close else hint) or None
        said = f"unknown {what} {shown(name)}"
        self.add(said, path, mark, found=name, allowed=allowed, hint=advice, nearest=close)

    def stop(self, message: str, path: str = "", mark: Mark = NOWHERE, **fields: Any) -> MapError:
        """Add a problem after which nothing more can be read, and return the error to raise."""
        self.add(message, path, mark, **fields)
        return self.error()

    def raise_any(self) -> None:
        """Raise the collected problems.

        Raises:
            MapError: There is at least one; it describes the first and lists all.
        """
        if self.items or self.doubled:
            raise self.error()

    def error(self) -> MapError:
        """Return the MapError with all problems, in the order of their lines."""
        ordered = sorted([*self.items, *self.doubled], key=lambda item: item.order)
        first = ordered[0]
        listed = ordered[:MAX_PROBLEMS]
        lines = [
            item.line_for(self.file) + (f" ({item.hint})" if item.hint else "") for item in listed
        ]
        if len(ordered) > len(listed):
            lines.append(f"… and {len(ordered) - len(listed)} more problems")
        return MapError(
            first.line_for(self.file),
            file=self.file,
            map_path=first.path or None,
            line=first.mark.line,
            found=first.found,
            allowed=first.allowed,
            nearest=first.nearest,
            problem=first.message,
            problems=lines,
            hint=first.hint,
        )
