"""Arrays as a dtype, a shape and raw bytes: no object of Python is ever inside."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from taskgrove.errors import AnalysisError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np

# Every dtype of numpy that is plain memory; no "O", and no comma that numpy would interpret.
_PLAIN_DTYPE = re.compile(
    r"[<>|=]?(?:[biufc?]\d{0,2}|[SUV]\d{0,10}|[mM]8(?:\[\d{0,9}(?:generic|[a-zA-Zμ]{1,2})\])?)\Z"
)
_MAX_DIMENSIONS: Final = 64
_MAX_DTYPE_DEPTH: Final = 20
# Of a dtype without bytes (an array of empty texts) any number of items would fit.
_MAX_ITEMS: Final = 1 << 40


def load_numpy(user: str) -> Any:
    """Return the module ``numpy``; ``user`` needs it, for the error if it is not installed."""
    try:
        import numpy  # noqa: PLC0415 - heavy, and an extra: imported where it is used
    except ImportError as exc:
        raise MissingExtraError("analysis", user) from exc
    return numpy


def is_array(value: object) -> bool:
    """Return whether a value is an array or a scalar of numpy, without importing numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def describe_dtype(dtype: np.dtype[Any]) -> Any:
    """Return a dtype as plain data.

    Raises:
        AnalysisError: It holds Python objects, or a type that numpy itself does not know.
    """
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": describe_dtype(base), "shape": list(shape)}
    if dtype.names is not None:
        assert dtype.fields is not None
        fields = [dtype.fields[name] for name in dtype.names]
        titles = [field[2] if len(field) > 2 else None for field in fields]
        return {
            "names": list(dtype.names),
            "formats": [describe_dtype(field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "itemsize": dtype.itemsize,
            **({"titles": _texts(titles)} if any(titles) else {}),
        }
    numpy = load_numpy("an array")
    if not _PLAIN_DTYPE.match(dtype.str) or numpy.dtype(dtype.str) != dtype:
        raise AnalysisError(
            f"an array of dtype {str(dtype)!r} has no plain form",
            hint="convert it first, such as with array.astype(float), or to a list",
        )
    return dtype.str


def _texts(titles: list[Any]) -> list[str | None]:
    return [None if title is None else str(title) for title in titles]


def read_dtype(plain: Any, depth: int = 0) -> np.dtype[Any]:
    """Return the dtype that :func:`describe_dtype` wrote.

    Raises:
        ValueError: It is no such description.
    """
    numpy = load_numpy("an array")
    if depth > _MAX_DTYPE_DEPTH:
        raise ValueError("a dtype is nested too deep")
    if isinstance(plain, str):
        if not _PLAIN_DTYPE.match(plain):
            raise ValueError(f"{plain[:40]!r} is not a plain dtype")
        return numpy.dtype(plain)  # type: ignore[no-any-return]
    if not isinstance(plain, dict):
        raise ValueError("a dtype is a text or a mapping")
    if "base" in plain:
        return numpy.dtype((read_dtype(plain["base"], depth + 1), _shape(plain["shape"])))  # type: ignore[no-any-return]
    formats = [read_dtype(item, depth + 1) for item in plain["formats"]]
    return numpy.dtype(  # type: ignore[no-any-return]
        {
            "names": list(plain["names"]),
            "formats": formats,
            "offsets": list(plain["offsets"]),
            "itemsize": plain["itemsize"],
            **({"titles": _texts(plain["titles"])} if "titles" in plain else {}),
        }
    )


def raw_view(array: np.ndarray[Any, Any]) -> tuple[memoryview, str]:
    """Return the bytes of an array, and their order (``C`` or ``F``).

    Memory that lies in one piece is not copied: the view keeps the array alive.
    """
    numpy = load_numpy("an array")
    order = "C"
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        array, order = array.T, "F"
    flat = numpy.ascontiguousarray(array).reshape(-1)
    if not flat.nbytes:
        return memoryview(b""), order
    return memoryview(flat.view(numpy.uint8)), order


def read_array(dtype: Any, shape: Any, order: Any, raw: memoryview | bytes | bytearray) -> Any:
    """Return the array of these bytes; it shares their memory.

    Raises:
        ValueError: The bytes do not fit the dtype and the shape.
    """
    numpy = load_numpy("an array")
    kind, sizes = read_dtype(dtype), _shape(shape)
    view = memoryview(raw).cast("B") if raw else memoryview(b"")
    if math.prod(sizes) * kind.itemsize != view.nbytes or math.prod(sizes) > _MAX_ITEMS:
        raise ValueError(f"{view.nbytes} bytes are not an array of {sizes} of {kind}")
    if order == "F":
        return numpy.ndarray(sizes[::-1], kind, buffer=view).T
    return numpy.ndarray(sizes, kind, buffer=view)


def _shape(plain: Sequence[Any]) -> tuple[int, ...]:
    sizes = tuple(plain)
    if len(sizes) > _MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("a shape is a list of whole numbers, none negative")
    return sizes
