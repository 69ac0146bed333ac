"""The plain form: what is written comes back as it was; what comes from outside is refused well."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import io
import json
import math
import subprocess
import sys
import uuid
import zoneinfo
from collections import OrderedDict, namedtuple
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import BaseModel, Field, RootModel

from taskgrove.analysis.parameters import Parameter, TaskParameters
from taskgrove.analysis.plain.form import MAX_DEPTH, SMALL_BYTES, PlainTypes, from_plain, to_plain
from taskgrove.analysis.plain.json_form import dump_json, load_json
from taskgrove.analysis.results import (
    DescribedAnalysis,
    ElogSummaryPlots,
    TaskResult,
    TaskStatus,
)
from taskgrove.errors import AnalysisError


class Colour(enum.Enum):
    RED = (1, 2)
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Fit:
    name: str
    values: Any
    made: int = dataclasses.field(default=0, init=False)


class Model(BaseModel):
    count: int
    other: str = Field("x", alias="other-name")


class Anything(RootModel[Any]):
    pass


Point = namedtuple("Point", "x y")
TYPES = PlainTypes([Colour, Level, Fit, Model, Anything, Point])


def there_and_back(value: Any, *, types: PlainTypes = TYPES) -> Any:
    """Return the value by way of JSON text, checking that buffers give the same."""
    text = json.dumps(to_plain(value), allow_nan=False)
    buffers: list[memoryview] = []
    small = json.dumps(to_plain(value, buffers=buffers), allow_nan=False)
    whole = from_plain(json.loads(small), buffers=[bytes(item) for item in buffers], types=types)
    plain = from_plain(json.loads(text), types=types)
    assert same(plain, whole)
    return plain


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal in kind and content; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ma.MaskedArray):
        return same(one.data, other.data) and same(
            np.ma.getmaskarray(one), np.ma.getmaskarray(other)
        )
    if dataclasses.is_dataclass(one):
        return all(
            same(getattr(one, item.name), getattr(other, item.name))
            for item in dataclasses.fields(one)
        )
    if isinstance(one, (np.str_, np.bytes_)):
        # Not by item() or ==, for which zeros at the end are nothing.
        return type(one) is type(other) and one[:] == other[:]
    if isinstance(one, np.longdouble):
        # Six of its sixteen bytes are no part of the number: whatever was in memory.
        return bool(one == other)
    if isinstance(one, (np.ndarray, np.generic)):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
        )
    if isinstance(one, float):
        if math.isnan(one):  # the sign of a NaN means nothing
            return math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (dt.datetime, dt.time)):
        return one == other and one.fold == other.fold and one.utcoffset() == other.utcoffset()
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, Decimal):
        return str(one) == str(other)
    return bool(one == other)


MEMORY_DTYPES = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="?"), hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(endianness="?"), hnp.complex_number_dtypes(), hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(), hnp.byte_string_dtypes(min_len=1, max_len=9),
    hnp.unicode_string_dtypes(min_len=1, max_len=9),
)  # fmt: skip
DTYPES = st.one_of(MEMORY_DTYPES, hnp.array_dtypes(MEMORY_DTYPES, max_size=3), hnp.nested_dtypes())
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ZONES = st.one_of(
    st.none(), st.just(dt.UTC), st.just(zoneinfo.ZoneInfo("Europe/Zurich")),
    st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone),
)  # fmt: skip
TEXTS = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]), max_size=8)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(1 << 80), 1 << 80), st.floats(), TEXTS,
    st.binary(max_size=8), st.complex_numbers(), st.decimals(), st.fractions(), st.uuids(),
    st.datetimes(timezones=ZONES), st.dates(), st.times(), st.timedeltas(),
    st.sampled_from([Colour.RED, Colour.BLUE, Level.LOW, TaskStatus.FAILED]),
    TEXTS.filter(lambda text: "\0" not in text).map(Path), st.binary(max_size=4).map(bytearray),
)  # fmt: skip
HASHABLE = st.one_of(
    st.integers(), TEXTS, st.booleans(), st.none(), st.dates(), st.tuples(st.integers(), TEXTS)
)
KEYS = st.one_of(TEXTS, st.just("$"), HASHABLE)
ARRAYS = hnp.arrays(MEMORY_DTYPES, SHAPES)
VALUES = st.recursive(
    st.one_of(SCALARS, ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.builds(Fit, TEXTS, inner),
        st.builds(lambda value: Point(value, 2), inner),
    ),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert same(there_and_back(value), value)


@given(hnp.arrays(DTYPES, SHAPES), st.sampled_from(["C", "F", "step", "transposed"]))
def test_every_array_comes_back_as_it_was(array: Any, layout: str) -> None:
    if layout == "step" and array.ndim:
        array = np.repeat(array, 2, axis=0)[::2]
    elif layout == "transposed":
        array = array.T
    else:
        array = np.asarray(array, order="F" if layout == "F" else "C")
    found = there_and_back(array)
    assert same(found, array)
    assert found.flags.writeable or not found.size


@given(st.dictionaries(st.sampled_from(["$", "v", "d", "s", "o", "b", "c", "n"]), VALUES))
def test_a_users_dict_never_passes_for_something_else(value: dict[str, Any]) -> None:
    assert same(there_and_back(value), value)
    assert same(there_and_back(to_plain(value)), to_plain(value))  # also one that was plain before


@given(st.frozensets(HASHABLE), st.sets(st.integers()))
def test_sets(frozen: frozenset[Any], plain: set[int]) -> None:
    assert there_and_back({"a": frozen, "b": plain}) == {"a": frozen, "b": plain}
    assert type(there_and_back(frozen)) is frozenset


@pytest.mark.parametrize(
    "value",
    [
        10**5000, -(1 << 63), (1 << 64) - 1, 1 << 64, -0.0, math.inf, -math.inf,
        Decimal("sNaN"), Fraction(1, 3), range(1, 9, 2), slice(None, 3), uuid.UUID(int=5),
        PurePosixPath("/a/../b"), PureWindowsPath("c:\\x"), Path("caf\udce9"), "half \ud83d",
        {"\ud83d": 1}, {(1, 2): {None: []}}, {1: "a", "1": "b", False: "c"}, b"x" * 5000,
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"), fold=1),
        dt.time(1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        dt.datetime(2000, 1, 1, tzinfo=dt.timezone(dt.timedelta(microseconds=1))),
        np.float32("nan"), np.datetime64("NaT", "s"), np.str_("a\0"), np.bytes_(b"a\0"),
        np.bool_(True), np.longdouble("1.1"), np.array(3), np.zeros((0, 3)), np.array([], "U0"),
        np.zeros(3, [("a", "i4"), ("b", "f8", (2, 2))])[1],
        np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["<i4", "<i2"], "offsets": [0, 2],
                              "itemsize": 12})),
        Model(**{"count": 3, "other-name": "y"}), Anything({"root": 1}), Point(1, [2]),
        ElogSummaryPlots("scans/a", b"<html>"),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!r}" if not isinstance(value, int)
    else f"int-{value.bit_length()}",
)  # fmt: skip
def test_special_values_come_back(value: Any) -> None:
    assert same(there_and_back(value), value)


def test_a_named_zone_stays_named() -> None:
    moment = dt.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich"))
    assert there_and_back(moment).tzinfo.key == "Europe/Zurich"
    plain = to_plain(moment)
    plain["v"][3] = "No/Such"  # a zone that this machine does not know: the instant is right
    assert from_plain(plain) == moment
    plain["v"][3] = "America/New_York"
    assert from_plain(plain) == moment


def test_masked_arrays_keep_their_mask() -> None:
    array = np.ma.MaskedArray([1, 2, 3], mask=[0, 1, 0], fill_value=-9)
    found = there_and_back(array)
    assert same(found, array)
    assert found.fill_value == -9
    # What the mean of nothing but masked values is.
    assert there_and_back({"mean": array[1:2].mean()})["mean"] is np.ma.masked


def test_subclasses_become_what_they_inherit() -> None:
    class Words(list[str]):
        pass

    assert there_and_back(Words(["a"])) == ["a"]
    assert there_and_back(OrderedDict(b=1, a=2)) == {"b": 1, "a": 2}
    assert type(there_and_back(Words())) is list


def test_fields_that_are_not_given_at_creation_come_back_too() -> None:
    fit = Fit("a", 1)
    fit.made = 7
    assert there_and_back(fit).made == 7


def test_large_memory_goes_into_buffers_without_a_copy() -> None:
    array, raw = np.zeros(SMALL_BYTES), b"y" * SMALL_BYTES
    buffers: list[memoryview] = []
    plain = to_plain({"a": array, "b": raw, "c": np.zeros(2)}, buffers=buffers)
    assert [item.nbytes for item in buffers] == [array.nbytes, len(raw)]
    array[3] = 5.0
    found = from_plain(plain, buffers=buffers)
    assert found["a"][3] == 5.0
    assert np.shares_memory(found["a"], array)
    assert len(json.dumps(plain)) < 300


def test_buffers_of_a_dict_that_is_written_anew_are_not_there_twice() -> None:
    buffers: list[memoryview] = []
    value = {"a": np.zeros(1000), "b": {"c": np.ones(1000)}, 3: b"x" * 1000}
    plain = to_plain(value, buffers=buffers)
    assert len(buffers) == 3
    assert same(from_plain(plain, buffers=buffers), value)


def test_arrays_of_plain_objects_come_back() -> None:
    for value in (
        np.array([1, None, "a", 10**5_000, [1, 2]], dtype=object),
        np.array([[1, "a"], [np.float64(5.5), b"x"]], dtype=object),
        np.empty((0, 3), dtype=object),
        np.array(7, dtype=object),
    ):
        back = from_plain(to_plain(value))
        assert back.dtype == object
        assert back.shape == value.shape
        assert back.tolist() == value.tolist()


class _Refuses:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")


def test_what_raises_when_it_is_read_is_refused_with_its_place() -> None:
    with pytest.raises(AnalysisError, match=r"the value\['a'\]\[1\] cannot be sent") as caught:
        to_plain({"a": [1, _Refuses()]})
    assert "RuntimeError: no" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({"a": [1, object()]}, "['a'][1]", "object"),
        (np.array([object()]), "[0]", "object"),
        ({"x": np.zeros(2, [("a", "O")])}, "['x']", "dtype"),
        ({"f": lambda: 0}, "['f']", "function"),
        ([TaskResult("a", TaskStatus.FAILED, "", iter(()))], "[0]['payload']", "iterator"),
        ({object(): 1}, "[", "object"),
    ],
)
def test_what_has_no_plain_form_is_refused_with_its_place(
    value: Any, where: str, what: str
) -> None:
    with pytest.raises(AnalysisError, match="cannot be sent") as caught:
        to_plain(value)
    assert f"the value{where}" in str(caught.value)
    assert what in str(caught.value)
    assert caught.value.hint


def test_what_refers_to_itself_or_is_too_deep_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert there_and_back(deep) == deep
    for value in (loop, [deep], {1: deep}):
        with pytest.raises(AnalysisError, match="nested deeper"):
            to_plain(value)


def test_an_odd_dict_as_deep_as_allowed_comes_back() -> None:
    deep: Any = "x"
    for _ in range(MAX_DEPTH // 2 - 1):
        deep = {1: {"$": deep}}
    assert there_and_back(deep) == deep


def test_unknown_classes_stay_data_and_are_never_imported() -> None:
    plain = json.loads(json.dumps(to_plain([Fit("a", (1,)), Colour.RED, Point(1, 2)])))
    assert from_plain(plain) == [
        {"__class__": f"{__name__}.Fit", "name": "a", "values": (1,), "made": 0},
        {"__class__": f"{__name__}.Colour", "name": "RED", "value": (1, 2)},
        {"__class__": f"{__name__}.Point", "x": 1, "y": 2},
    ]
    hostile = {"$": "object", "c": "subprocess.Popen", "v": {"args": ["true"]}}
    assert from_plain(hostile) == {"__class__": "subprocess.Popen", "args": ["true"]}


def test_the_checks_of_a_class_run_when_it_is_read() -> None:
    plain = to_plain(ElogSummaryPlots("a", b""))
    plain["v"]["display_name"] = "../../etc"
    with pytest.raises(AnalysisError, match="ElogSummaryPlots does not accept"):
        from_plain(plain)


@pytest.mark.parametrize(
    "plain",
    [
        {"$": "array", "d": "O", "s": [1], "o": "C", "v": ""},
        {"$": "array", "d": "<f8,O", "s": [1], "o": "C", "v": ""},
        {"$": "array", "d": {"names": ["a"], "formats": ["O"], "offsets": [0], "itemsize": 8},
         "s": [1], "o": "C", "v": base64.b64encode(b"12345678").decode()},
        {"$": "array", "d": "<f8", "s": [2], "o": "C", "v": base64.b64encode(b"1234").decode()},
        {"$": "array", "d": "<f8", "s": [-1], "o": "C", "v": ""},
        {"$": "array", "d": "<f8", "s": [1 << 62, 1 << 62], "o": "C", "v": ""},
        {"$": "array", "d": "<U0", "s": [1 << 50], "o": "C", "v": ""},
        {"$": "array", "d": "<f8", "s": "ab", "o": "C", "v": ""},
        {"$": "array", "d": "<f8", "s": [1], "o": "C", "b": 0},
        {"$": "bytes", "b": -1}, {"$": "bytes", "b": True}, {"$": "bytes", "v": "%"},
        {"$": "nope", "v": 1}, {"$": 3, "v": 1}, {"$": []}, {"$": "tuple"},
        {"$": "int", "v": "zz"}, {"$": "float", "v": "1e9"}, {"$": "datetime", "v": "x"},
        {"$": "set", "v": [[1]]}, {"$": "dict", "v": [[[], 1]]}, {"$": "dict", "v": [1]},
        {"$": "decimal", "v": "x"}, {"$": "fraction", "v": [1, 0]}, {"$": "uuid", "v": 3},
        {"$": "object", "c": [], "v": {}}, {"$": "object", "c": "x", "v": []},
        {"$": "time", "v": ["10:00", 0, None, "../../etc/passwd"]}, {"$": "masked", "v": [1, 2, 3]},
        {"$": "object", "c": "taskgrove.analysis.results.TaskResult", "v": {"x": 1}},
        {"$": "enum", "c": "taskgrove.analysis.results.TaskStatus", "n": "X", "v": 99},
        {"$": "enum", "c": "taskgrove.analysis.results.TaskResult", "n": "X", "v": 99},
        {1, 2}, object(),
    ],
    ids=lambda plain: str(plain) if isinstance(plain, dict) else type(plain).__name__,
)  # fmt: skip
def test_what_is_no_plain_form_is_one_clear_error(plain: Any) -> None:
    with pytest.raises(AnalysisError):
        from_plain(plain)


def test_depth_from_outside_is_bounded() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(AnalysisError, match="nested too deep"):
        from_plain(deep)
    with pytest.raises(AnalysisError):
        load_json("[" * 100_000)


class FindPeaks(TaskParameters):
    out_file: Path = Parameter(description="where peaks go")
    threshold: float = Parameter(5.0, unit="sigma")
    size: tuple[int, int] = (3, 4)


def described() -> DescribedAnalysis:
    payload = {
        "image": np.arange(600.0).reshape(20, 30), "at": dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
        "file": Path("/data/x.h5"), "kind": Colour.BLUE, "chi2": math.nan, 3: (1, 2),
    }  # fmt: skip
    result = TaskResult("FindPeaks", TaskStatus.COMPLETED, "7 peaks", payload, "HDF5")
    parameters = FindPeaks(out_file=Path("/data/x.cxi"), threshold=4.5)
    return DescribedAnalysis(result, parameters, {"PATH": "/bin"}, 0.05, ["Pipe: all"])


def test_a_described_analysis_comes_back_whole() -> None:
    text = dump_json(described())
    found = load_json(text, [FindPeaks, Colour])
    expected = described()
    assert same(found.task_result.payload, expected.task_result.payload)
    found.task_result.payload = expected.task_result.payload = None
    assert found == expected
    assert found.task_parameters.size == (3, 4)


def test_parameters_of_an_unknown_class_are_kept_as_data() -> None:
    found = load_json(dump_json(described(), indent=2).encode())
    assert found.task_parameters == {
        "__class__": f"{__name__}.FindPeaks",
        "out_file": Path("/data/x.cxi"),
        "threshold": 4.5,
        "size": (3, 4),
    }


def test_text_that_is_no_json_is_said_so() -> None:
    for text in ("", "{", b"\xff", "NaN nope"):
        with pytest.raises(AnalysisError, match="not JSON"):
            load_json(text)


def test_w1_no_pickle_is_ever_read(tmp_path: Path) -> None:
    """A result that is a crafted pickle is data, or an error; it never runs."""
    victim = tmp_path / "victim"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (victim,))

    import pickle

    raw = pickle.dumps(Evil())
    assert there_and_back(raw) == raw
    file = io.BytesIO()
    np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    assert there_and_back(file.getvalue()) == file.getvalue()
    assert not victim.exists()


def test_writing_needs_neither_numpy_nor_pydantic() -> None:
    program = (
        "import sys\nfrom taskgrove.analysis.plain.json_form import dump_json, load_json\n"
        "assert load_json(dump_json({1: (2, b'x')})) == {1: (2, b'x')}\n"
        "print({'numpy', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout == "set()\n"


def test_only_classes_with_fields_can_be_registered() -> None:
    types = PlainTypes()
    for kind in (int, object, "x"):
        with pytest.raises(AnalysisError, match="cannot be read from plain data"):
            types.register(kind)  # type: ignore[arg-type]
    types.register(Fit, name="old.module.Fit")
    assert from_plain({"$": "object", "c": "old.module.Fit", "v": {"name": "a", "values": 1}},
                      types=types) == Fit("a", 1)  # fmt: skip
