"""What holds of results whatever a producer sends (SPEC S2)."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.aggregation import SubtaskResult
from taskgrove.commands.aggregation.base import format_message, parse_result
from taskgrove.commands.aggregation.messages import MESSAGE_LIMIT, holds_causes
from taskgrove.control_model import ResultCode, TaskStatus

codes = st.sampled_from(ResultCode)
anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), codes,
        st.sampled_from(TaskStatus), st.from_regex(r"[\[(][0-9\[\](),'\"A-Z ]*[\])]"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
        st.sets(st.integers(), max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip
devices = st.from_regex(r"[a-z0-9_-]{1,9}/[a-z0-9_-]{1,9}/[a-z0-9_-]{1,9}", fullmatch=True)


@given(anything)
def test_nothing_that_is_sent_raises(value: object) -> None:
    for sent in (value, repr(value), (3, value), (value, "text")):
        parsed = parse_result(sent)
        assert (parsed.code is None) == (sent is None or parsed.acknowledged is not None)
        assert len(parsed.message) <= MESSAGE_LIMIT or holds_causes(parsed.message)
    sub = SubtaskResult("a", value, value, value, value, value)  # type: ignore[arg-type]
    assert sub.status is None or isinstance(sub.status, TaskStatus)
    assert sub.result_code is None or isinstance(sub.result_code, ResultCode)


@given(codes, st.text(max_size=200))
def test_every_form_of_a_pair_is_the_same_pair(code: ResultCode, text: str) -> None:
    forms = [
        (code, text),
        [code, text],
        (int(code), text),
        (code.name, text),
        [[code], [text]],
        json.dumps([int(code), text]),
        json.dumps([code.name, text], ensure_ascii=False),
        json.dumps([[code], [text]], indent=1),
        repr((int(code), text)),
        repr([int(code), text]),
        repr((code, text)),
        repr([[int(code)], [text]]),
    ]
    for form in forms:
        parsed = parse_result(form)
        assert parsed.code is code, form
        assert parsed.message == text, form


@given(devices, st.text(max_size=200))
def test_a_prefix_is_never_doubled(device: str, message: str) -> None:
    once = format_message(device, message)
    assert format_message(device, once) == once
    assert once.endswith(message)
    assert not once.startswith(f"{device}: {device}: ")


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.sampled_from(TaskStatus)),
            st.one_of(st.none(), st.tuples(codes, st.text(max_size=5))),
            st.one_of(st.none(), st.lists(devices, max_size=3)),
        ),
        max_size=5,
    )
)
def test_none_keeps_what_was_known(
    updates: list[tuple[TaskStatus | None, tuple[ResultCode, str] | None, list[str] | None]],
) -> None:
    sub = SubtaskResult("a")
    status = result = known = None
    for new_status, new_result, new_devices in updates:
        sub.update(status=new_status, result=new_result, devices=new_devices)
        status = status if new_status is None else new_status
        result = result if new_result is None else new_result
        known = known if new_devices is None else list(dict.fromkeys(new_devices))
    assert sub.status == status
    assert sub.devices == known
    if result is not None:
        assert (sub.result_code, sub.message) == result
