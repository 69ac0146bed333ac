"""Entries of a logbook, as JSON (the form is documented in docs/summary-plots.md)."""

from __future__ import annotations

import base64
import json
import math
import mimetypes
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from taskgrove.analysis.publishing.page_names import iso_time
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import TaskStatus
from taskgrove.events.foreign_values import readable

#: Version of the form of entries.
SCHEMA: Final = 1
#: Longest message, and longest text of a parameter, in characters.
MAX_MESSAGE: Final = 4096
MAX_TEXT: Final = 1000
#: Most parameters in one post.
MAX_PARAMETERS: Final = 500
#: Most bytes of the files of one message.
MAX_FILE_BYTES: Final = 16 << 20
FINAL: Final = frozenset(
    status.name
    for status in (
        TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.TIMEDOUT
    )
)  # fmt: skip
_MAX_DEPTH: Final = 10

EntryKind: TypeAlias = Literal["status", "parameters", "message"]
Scalar: TypeAlias = str | int | float | bool | None


@dataclass(slots=True, eq=False)
class Entry:
    """One post.

    Attributes:
        key: The idempotency key, the same for each try.
        at_ns: When it was made, nanoseconds since the epoch, UTC; grows with every entry.
        kind: Whether it tells a status or parameters, or is a message.
        origin: The analysis that it is about.
        final: True for a status after which none follows.
        body: The JSON that is sent.
        title: Its name for people.
        status: The status that it tells, or None.
        files: The files of a message; they are read when it is posted.
        due: When it may be tried, in seconds of the monotonic clock.
        tries: How often it was tried.
    """

    key: str
    at_ns: int
    kind: EntryKind
    origin: PageOrigin
    final: bool
    body: bytes
    title: str
    status: str | None = None
    files: tuple[Path, ...] = ()
    due: float = 0.0
    tries: int = 0

    @property
    def rank(self) -> int:
        """How much it matters: an end most, then parameters and messages."""
        return 2 if self.final else int(self.kind != "status")

    def with_files(self) -> tuple[bytes, list[str]]:
        """Return its body with the content of its files, and why some of them are not in it."""
        if not self.files:
            return self.body, []
        told: list[dict[str, Any]] = []
        lacking: list[str] = []
        left = MAX_FILE_BYTES
        for file in self.files:
            try:
                content = _content_of(file, left)
            except (OSError, ValueError) as exc:
                why = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
                lacking.append(f"{file}: {why}")
                told.append({"name": file.name, "error": why})
                continue
            left -= len(content)
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            text = base64.b64encode(content).decode()
            told.append({"name": file.name, "media_type": kind, "size_bytes": len(content),
                         "base64": text})  # fmt: skip
        return json.dumps({**json.loads(self.body), "files": told}).encode(), lacking

    def overtakes(self, earlier: Entry) -> bool:
        """Return whether this status makes an earlier, passing status of its analysis idle."""
        return (
            self.kind == earlier.kind == "status"
            and not earlier.final
            and self.at_ns > earlier.at_ns
            and self._subject == earlier._subject
        )

    @property
    def _subject(self) -> tuple[str, str, str]:
        return self.origin.run_id, self.origin.path, self.origin.analysis


def status_entry(origin: PageOrigin, status: TaskStatus | str, message: str, at_ns: int) -> Entry:
    """Return the entry that tells an analysis' status."""
    name = status.name if isinstance(status, Enum) else str(status)
    final = name in FINAL
    content = {"status": name, "final": final, "message": readable(message, MAX_MESSAGE)}
    title = f"status {name}"
    return _entry("status", origin, at_ns, content, final=final, title=title, status=name)


def parameters_entry(origin: PageOrigin, parameters: Mapping[Any, Any], at_ns: int) -> Entry:
    """Return the entry that tells parameters of a run."""
    content = {"parameters": flat_parameters(parameters)}
    return _entry("parameters", origin, at_ns, content, final=False, title="parameters")


def message_entry(
    origin: PageOrigin, text: str, at_ns: int, tags: Iterable[str], files: Iterable[str | Path]
) -> Entry:
    """Return the entry of a message."""
    content = {
        "message": readable(text, MAX_MESSAGE),
        "tags": [readable(tag, MAX_TEXT) for tag in tags],
    }
    paths = tuple(Path(file).absolute() for file in files)
    return _entry("message", origin, at_ns, content, final=False, title="message", files=paths)


def flat_parameters(parameters: Mapping[Any, Any]) -> dict[str, Scalar]:
    """Return parameters as a table of names and plain values.

    Nested names are joined by dots. Numbers that JSON does not know (NaN, infinities) and all
    other values become their text, cut to 1,000 characters; after 500 parameters the rest is
    counted.
    """
    found: dict[str, Scalar] = {}
    left_out = 0
    for name, value in _leaves(parameters, "", 0):
        if len(found) < MAX_PARAMETERS:
            found[readable(name, MAX_TEXT)] = _scalar(value)
        else:
            left_out += 1
    if left_out:
        found["(left out)"] = left_out
    return found


def _entry(
    kind: EntryKind,
    origin: PageOrigin,
    at_ns: int,
    fields: dict[str, Any],
    *,
    final: bool,
    title: str,
    status: str | None = None,
    files: tuple[Path, ...] = (),
) -> Entry:
    key = uuid.uuid4().hex
    content = {
        "schema": SCHEMA,
        "kind": kind,
        "id": key,
        "at": iso_time(at_ns),
        "at_ns": at_ns,
        "run_id": origin.run_id,
        "path": origin.path,
        "analysis": origin.analysis,
        "experiment": origin.experiment,
        "experiment_run": origin.experiment_run,
        **fields,
    }
    body = json.dumps(content, allow_nan=False).encode()
    about = origin.path or origin.analysis or origin.run_id
    title = f"{title} of {about}"
    return Entry(key, at_ns, kind, origin, final, body, title, status, files)


def _content_of(file: Path, most: int) -> bytes:
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would block
        raise ValueError("it is not a regular file")
    if found.st_size <= most:
        with file.open("rb") as stream:
            content = stream.read(most + 1)
        if len(content) <= most:
            return content
    raise ValueError(f"the files of a message are longer than {MAX_FILE_BYTES >> 20} MiB")


def _leaves(parameters: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and depth < _MAX_DEPTH:
            yield from _leaves(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _scalar(value: Any) -> Scalar:
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, Enum):
        value = value.name
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    is_empty = isinstance(value, Mapping) and not value
    return "{}" if is_empty else readable(value, MAX_TEXT)
