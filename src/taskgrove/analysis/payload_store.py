"""Large payloads, kept in files and passed on by reference; never by pickle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from taskgrove.analysis.payload_reference import PayloadKind, PayloadReference
from taskgrove.analysis.plain.arrays import describe_dtype, is_array, load_numpy
from taskgrove.analysis.plain.form import MAX_DEPTH, PlainTypes
from taskgrove.analysis.plain.json_form import dump_json, load_json
from taskgrove.errors import AnalysisError
from taskgrove.private_files import make_private_folder, open_new_private

#: Larger payloads are kept in files, in bytes.
DEFAULT_LIMIT_BYTES: Final = 1 << 20


def store_payload(payload: Any, folder: str | Path, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Any:
    """Return a payload whose large parts are references to files.

    Arrays and bytes over the limit, also inside dicts, lists and tuples, are kept each in a
    file; the rest is kept as JSON if it is still over the limit. A file is named after its
    content: it is complete or not there, and the same content is kept once.

    Args:
        payload: The payload; it is not changed.
        folder: Where the files are put; it is made.
        limit_bytes: Largest part that stays in memory.

    Raises:
        AnalysisError: A part has no plain form (the error says which), or a file cannot be
            written.
    """
    place = Path(folder).absolute()
    left = _without_arrays(payload, place, limit_bytes, 0, {})
    if isinstance(left, PayloadReference):
        return left
    raw = dump_json(left).encode()
    if len(raw) <= limit_bytes:
        return left
    return _keep(place, "json", lambda file: file.write(raw))


def _without_arrays(value: Any, place: Path, limit: int, depth: int, done: dict[int, Any]) -> Any:
    """Return a value with its large parts kept; ``done`` holds each collection that was seen."""
    if depth > MAX_DEPTH:
        return value  # it is refused when it is written
    kind = type(value)
    if kind in {dict, list, tuple}:
        if id(value) not in done:  # lists may share parts
            pairs = value.items() if kind is dict else enumerate(value)
            left = {key: _without_arrays(it, place, limit, depth + 1, done) for key, it in pairs}
            done[id(value)] = left if kind is dict else kind(left.values())
        return done[id(value)]
    if kind in {bytes, bytearray, memoryview} and memoryview(value).nbytes > limit:
        return _keep(place, "bytes", lambda file: file.write(value))
    if is_array(value) and value.nbytes > limit and kind.__name__ in {"ndarray", "memmap"}:
        describe_dtype(value.dtype)  # refuses arrays that only pickle could write
        numpy = load_numpy("an array")
        return _keep(
            place, "npy", lambda file: numpy.save(file, numpy.asarray(value), allow_pickle=False)
        )
    return value


_SUFFIXES: Final[dict[PayloadKind, str]] = {"npy": ".npy", "json": ".json", "bytes": ".bin"}


def _keep(place: Path, kind: PayloadKind, write: Callable[[IO[bytes]], object]) -> PayloadReference:
    temporary = place / f".{uuid.uuid4().hex}.tmp"
    try:
        make_private_folder(place)
        with os.fdopen(open_new_private(temporary, os.O_RDWR), "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = place / f"{digest[:32]}{_SUFFIXES[kind]}"
        temporary.replace(target)
    except OSError as exc:
        raise AnalysisError(
            f"the payload cannot be kept in {str(place)!r}: {exc.strerror or exc}",
            hint="see whether the folder can be written to, and has space",
        ) from exc
    finally:
        with contextlib.suppress(OSError):  # the first error counts
            temporary.unlink(missing_ok=True)
    return PayloadReference(str(target), size, digest, kind)


def load_payload(
    payload: Any, *, root: str | Path | None = None, types: PlainTypes | None = None
) -> Any:
    """Return a payload with the content of the files in place of references to them.

    Args:
        payload: The result of :func:`store_payload`: a reference, or data with references.
        root: The folder under which the files have to lie; None: anywhere.
        types: Classes whose objects are made again, beside those of seed 004.

    Raises:
        AnalysisError: A file is missing, is outside ``root``, or has another size or hash.
    """
    if isinstance(payload, PayloadReference):
        loaded = _read(payload, root, types)
        # A payload in JSON may hold references to arrays.
        return load_payload(loaded, root=root, types=types) if payload.kind == "json" else loaded
    if type(payload) is dict:
        return {key: load_payload(item, root=root, types=types) for key, item in payload.items()}
    if type(payload) in {list, tuple}:
        return type(payload)(load_payload(item, root=root, types=types) for item in payload)
    return payload


def _read(reference: PayloadReference, root: str | Path | None, types: PlainTypes | None) -> Any:
    path = Path(reference.path)
    try:
        if root is not None and not path.resolve().is_relative_to(Path(root).resolve()):
            raise AnalysisError(f"the payload {reference.path!r} lies outside of {str(root)!r}")
        raw = bytearray(path.stat().st_size)
        with path.open("rb") as file:
            size = file.readinto(raw)
    except (OSError, ValueError) as exc:
        if isinstance(exc, AnalysisError):
            raise
        raise AnalysisError(f"the payload {reference.path!r} cannot be read: {exc}") from exc
    if size != reference.size_bytes or hashlib.sha256(raw).hexdigest() != reference.sha256:
        raise AnalysisError(
            f"the file {reference.path!r} has changed: its size or its hash differs"
        )
    if reference.kind == "bytes":
        return bytes(raw)
    if reference.kind == "json":
        return load_json(bytes(raw), types)
    return _array(raw, reference.path)


def _array(raw: bytearray, path: str) -> Any:
    numpy = load_numpy("an array")
    try:
        return numpy.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, OSError, EOFError) as exc:
        raise AnalysisError(f"the file {path!r} holds no array: {exc}") from exc
