"""The tree of errors: drawn as it is, kin to the standard library, clear when printed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from taskgrove import errors
from taskgrove.control_model import ResultCode
from taskgrove.errors import (
    CommandError,
    DeviceError,
    MapError,
    MissingExtraError,
    RunError,
    TaskFailedError,
    TaskgroveError,
    UsageError,
    WaitTimeoutError,
    nearest,
)


def family(root: type[TaskgroveError]) -> Iterator[type[TaskgroveError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from family(child)


def drawn() -> Iterator[tuple[str, str, str]]:
    """Yield (class, parent, standard kin) as the module's docstring draws them."""
    parents = ["TaskgroveError"]
    pattern = re.compile(r"^(?P<lead>[\s│├└─]+)─ (?P<name>\w+)(?: \((?P<kin>\w+)\))?")
    for line in inspect.getdoc(errors).split("\n"):  # type: ignore[union-attr]
        if found := pattern.match(line):
            depth = (len(found["lead"]) - 6) // 4 + 1
            del parents[depth:]
            yield found["name"], parents[-1], found["kin"] or ""
            parents.append(found["name"])


def test_the_drawn_tree_is_the_tree() -> None:
    real = {cls.__name__: cls for cls in family(TaskgroveError)}
    rows = list(drawn())
    assert sorted(name for name, _, _ in rows) == sorted(real)
    for name, parent, kin in rows:
        bases = [base.__name__ for base in real[name].__bases__]
        assert bases == ([parent, kin] if kin else [parent])


def test_every_error_has_a_code_of_its_own() -> None:
    classes = [TaskgroveError, *family(TaskgroveError)]
    codes = [cls.__dict__["code"] for cls in classes]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_a_hint_is_printed_after_the_message() -> None:
    plain = UsageError("no such rule")
    assert (str(plain), plain.path, plain.hint) == ("no such rule", None, None)
    hinted = UsageError("no such rule", path="a/b", hint="did you mean 'all'?")
    assert str(hinted) == "no such rule (did you mean 'all'?)"
    assert (hinted.message, hinted.path) == ("no such rule", "a/b")


def test_standard_kin_catches_ours() -> None:
    with pytest.raises(TimeoutError):
        raise WaitTimeoutError("not yet")
    with pytest.raises(ValueError, match="wrong"):
        raise UsageError("wrong")


def test_a_command_error_carries_the_answer_for_a_client() -> None:
    error = CommandError("refused", command="Configure", reasons=iter(["a", "b"]))
    assert error.result_code == ResultCode.REJECTED
    assert (error.command, error.reasons) == ("Configure", ("a", "b"))
    assert CommandError("x", result_code=ResultCode.NOT_ALLOWED).result_code == 6


def test_a_map_error_lists_at_least_itself() -> None:
    error = MapError(
        "unknown key", file="m.yaml", map_path="configure.tasks", line=3, allowed=["a"]
    )
    assert (error.file, error.map_path, error.path, error.line) == (
        "m.yaml",
        "configure.tasks",
        "configure.tasks",
        3,
    )
    assert error.allowed == ("a",)
    assert error.problems == ("unknown key",)
    assert MapError("x", problems=["1", "2"]).problems == ("1", "2")


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = MissingExtraError("tango", "the simulator")
    assert error.extra == "tango"
    assert "pip install 'taskgrove[tango]'" in str(error)
    assert isinstance(error, ImportError)


def test_typed_fields_of_the_rest() -> None:
    assert DeviceError("gone", device="a/b/c").device == "a/b/c"
    outcome = object()
    failed = TaskFailedError("failed", outcome=outcome)
    assert isinstance(failed, RunError)
    assert failed.outcome is outcome


@pytest.mark.parametrize(
    ("name", "found"), [("quorom", "quorum"), ("Any", "any"), ("zzz", None), ("", None)]
)
def test_the_nearest_name(name: str, found: str | None) -> None:
    assert nearest(name, ["all", "any", "quorum"]) == found
