"""Values that come from outside: each is one that JSON, a database or a text cannot take."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel

from taskgrove.control_model import TaskStatus
from tests.unit.hostile_values import EndlessNames, Hostile, LyingClass, RefusalError, Unhashable


@dataclasses.dataclass
class Fit:
    chi2: Any = dataclasses.field(default_factory=lambda: np.float64(1.5))


class Model(BaseModel):
    rate: float = 2.5


class Text(str):
    """A text of a class of its own, which says something else when it is asked."""

    def __str__(self) -> str:
        raise RefusalError


class Exits:
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Kind(enum.Enum):
    ONE = "one"


Point = collections.namedtuple("Point", "x y")


def _itself() -> list[Any]:
    inner: list[Any] = []
    inner += [inner, inner]
    return inner


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(3_000):
        deep = [deep]
    return deep


#: One of each kind, by name; made anew, as some are changed by being read.
FOREIGN: dict[str, Any] = {
    "numpy float": lambda: np.float64(5.5),
    "numpy integer": lambda: np.int64(7),
    "numpy text": lambda: np.str_("text"),
    "numpy array": lambda: np.arange(6.0).reshape(2, 3),
    "large array": lambda: np.zeros((300, 300)),
    "object array": lambda: np.array([1, None, "a"], dtype=object),
    "masked": lambda: np.ma.masked,
    "path": lambda: pathlib.Path("/data/r12"),
    "datetime": lambda: datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC),
    "complex": lambda: 1 + 2j,
    "tuple key": lambda: {(1, 2): 3},
    "number key": lambda: {1: np.float32(2)},
    "5,000 digits": lambda: 10**5_000,
    "more than 64 bits": lambda: 1 << 70,
    "minus 64 bits": lambda: -(1 << 66),
    "bytes": lambda: b"\xff\0a",
    "set": lambda: {1, 2},
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "surrogate": lambda: "half \ud800 pair",
    "nul": lambda: "scan 1\0scan 2",
    "enum": lambda: Kind.ONE,
    "int enum": lambda: TaskStatus.FAILED,
    "decimal": lambda: decimal.Decimal("1.1"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "uuid": lambda: uuid.UUID(int=5),
    "dataclass": Fit,
    "pydantic": Model,
    "named tuple": lambda: Point("x", np.float64(2)),
    "text of a class": lambda: Text("said"),
    "exits": Exits,
    "hostile": Hostile,
    "hostile in a list": lambda: [Hostile(), {"a": Unhashable()}],
    "lying class": LyingClass,
    "endless": EndlessNames,
    "itself": _itself,
    "deep": _deep,
    "huge text": lambda: "x" * 3_000_000,
    "huge list": lambda: list(range(300_000)),
    "object": object,
    "function": lambda: print,
    "error": lambda: RefusalError("no"),
    "none": lambda: None,
}

_LEAVES = st.one_of(
    # Hypothesis asks what it generates for its class.
    st.sampled_from(sorted(set(FOREIGN) - {"lying class"})).map(lambda name: FOREIGN[name]()),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=20),  # surrogates and NUL included
    st.binary(max_size=20),
)
#: Any of them, alone or inside collections.
foreign_values = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=3),
    ),
    max_leaves=5,
)
