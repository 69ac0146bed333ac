"""Hypothesis strategies for valid command maps."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

from taskgrove.commands.command_map import parse_plain_data
from taskgrove.commands.command_map.map_models import KEYWORDS

COMPONENTS = {
    "cbf": ["low-cbf/subarray/01"],
    "pss": ["low-pss/subarray/01"],
    "pst": [f"low-pst/beam/{i:02}" for i in range(1, 5)],
    "resource_manager": ["low-csp/resources/01"],
}
DEVICE_KEYWORDS = ("cbf", "pss", "resource_manager", "pst", "csp_subs")
#: What makes one leaf in the composite itself: there it stands once, where all run at once.
SINGLE = ("cbf", "pss", "resource_manager")
#: What a device step may name.
DEVICES = ("cbf", "pst", "low-pss/subarray/01", "resource_manager")
METHODS = ("check_lock", "check_all")


def _is_written_as_text(text: str) -> bool:
    """Return False for ``0E0`` and its like: a number in YAML 1.2, which PyYAML does not quote."""
    return bool(parse_plain_data(yaml.safe_dump(text)) == text)


# No characters that YAML writes in ways of its own, or not at all.
_texts = st.text(
    st.characters(
        codec="utf-8",
        exclude_characters="\x85\u2028\u2029\ufeff",
        exclude_categories=("Cc", "Cs", "Co", "Cn"),
    ),
    max_size=8,
).filter(lambda text: "{{" not in text and _is_written_as_text(text))
_keys = st.text("abc<&*-: ", max_size=4)
plain_data: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False).map(lambda x: round(x, 3)),
        _texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=6,
)
seconds = st.one_of(st.integers(1, 1000), st.floats(0.5, 1e6).map(lambda x: round(x, 2)))
names = st.sampled_from(["a", "b", "beams b", "step-1", "x.y", "ü", "no"])
rules = st.one_of(
    st.sampled_from(["all", "any", "quorum 0.8"]),
    st.fixed_dictionaries({"quorum": st.one_of(st.integers(1, 9), st.sampled_from([0.5, 0.75]))}),
)
guards = st.fixed_dictionaries(
    {
        "attr_name": st.just("obsState"),
        "attr_value": st.lists(st.sampled_from(["IDLE", "READY", 2, 4]), min_size=1, max_size=2),
    }
)


_each = st.fixed_dictionaries({"parameter": st.just("frame")}).flatmap(
    lambda base: st.one_of(
        st.integers(1, 5).map(lambda count: {**base, "count": count}),
        st.integers(-3, 3).map(lambda first: {**base, "range": [first, first + 2]}),
        st.lists(plain_data, min_size=1, max_size=3).map(lambda some: {**base, "values": some}),
    )
)


_of_every_entry: dict[str, st.SearchStrategy[Any]] = {
    "description": _texts,
    "hold": st.sampled_from(["on_failure", "never"]),
    "hold_timeout": seconds,
}


def _unheld(entry: dict[str, Any], in_clean_up: bool) -> dict[str, Any]:
    """Return an entry without a hold where none is allowed."""
    if in_clean_up and entry.get("hold") == "on_failure":
        entry["hold"] = "never"
    return entry


@st.composite
def _handler(draw: st.DrawFn, keyword: str, named: bool, in_clean_up: bool) -> dict[str, Any]:
    if keyword == "internal":
        command = st.sampled_from(METHODS)
    else:
        command = st.sampled_from(["Configure", "Scan"])
    optional: dict[str, st.SearchStrategy[Any]] = {
        "argin": plain_data,
        "timeout": seconds,
        "retries": st.integers(0, 3),
        "allowed_states": guards,
        "retry_delay": seconds,
        "retry_backoff": st.sampled_from([1, 1.5, 100]),
        **_of_every_entry,
    }
    if keyword in DEVICE_KEYWORDS:
        optional["abort_on_timeout"] = st.booleans()
    if keyword in ("pst", "csp_subs"):
        optional["rule"] = rules
    if keyword == "analysis":
        optional["config"] = st.just("run.yaml")
        optional["argin"] = st.dictionaries(st.sampled_from(["bins", "run"]), plain_data)
        optional["each"] = _each
        optional["rule"] = rules
    entry: dict[str, Any] = draw(
        st.fixed_dictionaries({"command_name": command}, optional=optional)
    )
    if keyword == "analysis" and "each" not in entry:
        entry.pop("rule", None)
    if not entry.get("retries"):
        entry.pop("retry_delay", None)
    if "retry_delay" not in entry:
        entry.pop("retry_backoff", None)
    _unheld(entry, in_clean_up)
    return {"handler": keyword, **entry} if named else entry


_some_values = st.lists(
    st.one_of(st.sampled_from(["ON", "FAULT"]), st.integers(0, 9), st.booleans()),
    min_size=1,
    max_size=3,
)
_conditions = st.fixed_dictionaries(
    {"attribute": st.sampled_from(["State", "obsState", "_x"])}
).flatmap(
    lambda base: st.one_of(
        _some_values.map(lambda some: {**base, "value": some[0]}),
        _some_values.map(lambda some: {**base, "any_of": some}),
        _some_values.map(lambda some: {**base, "none_of": some, "value": some}),
        st.integers(-3, 3).map(lambda low: {**base, "min": low, "max": low + 1.5}),
        st.integers(-3, 3).map(lambda number: {**base, "value": number, "within": 0.5}),
    )
)
_kinds = st.one_of(
    st.just({"command_name": "MoveTo"}),
    plain_data.filter(lambda value: value is not None).map(
        lambda value: {"write": {"attribute": "velocity", "value": value}}
    ),
    _conditions.map(lambda condition: {"expect": condition}),
    st.tuples(_conditions, _some_values).map(lambda two: {"wait": {**two[0], "fail_on": two[1]}}),
)


@st.composite
def _device_step(draw: st.DrawFn, in_clean_up: bool, reads: bool = False) -> dict[str, Any]:
    kind = draw(_kinds.filter(lambda kind: not reads or bool({"wait", "expect"} & set(kind))))
    named = st.one_of(
        st.sampled_from(DEVICES),
        st.lists(st.sampled_from(DEVICES[:3]), min_size=1, max_size=3, unique=True),
    )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "timeout": seconds,
        "retries": st.integers(0, 3),
        "allowed_states": guards,
        "reject_missing": st.booleans(),
        "skip_if": _conditions,
        "rule": rules,
        **_of_every_entry,
    }
    if "command_name" in kind:
        optional |= {"argin": plain_data, "call_timeout": seconds}
    fixed = draw(st.fixed_dictionaries({"device": named}, optional=optional))
    return _unheld({**fixed, **kind}, in_clean_up)


@st.composite
def _tasks(draw: st.DrawFn, depth: int, least: int, in_clean_up: bool) -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    for _ in range(draw(st.integers(least, 3))):
        kind = draw(st.sampled_from(["keyword", "named", "composite", "device"]))
        if kind == "composite" and depth > 0:
            tasks[draw(names)] = draw(_composite(depth - 1, in_clean_up=in_clean_up))
            continue
        if kind == "device":
            tasks[draw(names)] = draw(_device_step(in_clean_up))
            continue
        keyword = draw(st.sampled_from(KEYWORDS))
        named = kind == "named"
        tasks[draw(names) if named else keyword] = draw(_handler(keyword, named, in_clean_up))
    return tasks


@st.composite
def _composite(
    draw: st.DrawFn, depth: int, root: bool = False, in_clean_up: bool = False
) -> dict[str, Any]:
    tasks = draw(_tasks(depth, 1 if root else 0, in_clean_up))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "skip_subtasks": st.booleans(),
        "rule": rules,
        "timeout": seconds,
        **({} if root else {"allowed_states": guards}),
        **_of_every_entry,
    }
    types = st.sampled_from(["sequential", "parallel"])
    fixed = draw(st.fixed_dictionaries({"type": types}, optional=optional))
    if fixed["type"] == "parallel":  # one device does two things in order only
        kept: dict[str, str] = {}
        for name, entry in tasks.items():
            if not {"command_name", "write"} & set(entry) and "device" in entry:
                kept[name] = name
                continue
            if isinstance(entry.get("device"), str):
                continue
            keyword = entry.get("handler", name)
            kept.setdefault(keyword if keyword in SINGLE and "tasks" not in entry else name, name)
        tasks = {name: tasks[name] for name in kept.values()}
    elif depth > 0 and draw(st.integers(0, 2)) == 0:
        fixed["finally"] = draw(_tasks(depth - 1, 0, True))
        if draw(st.booleans()):
            fixed["finally_timeout"] = draw(seconds)
    return {**_unheld(fixed, in_clean_up), "tasks": tasks}


_calls = st.fixed_dictionaries({}, optional={"allowed_states": st.none(), **_of_every_entry})


@st.composite
def maps(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid map in the form with sections."""
    commands = draw(
        st.dictionaries(st.sampled_from(["configure", "scan", "end scan"]), _composite(3, True),
                        min_size=1, max_size=2)
    )  # fmt: skip
    called = None
    for name, entry in reversed(commands.items()):
        if called is not None and draw(st.booleans()):
            entry["tasks"][f"call {called}"] = {"call": called, **draw(_calls)}
        called = name
    return {"commands": commands, "components": COMPONENTS}
