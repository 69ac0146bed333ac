"""The lines of an error: each reason once, and how many more there are."""

from __future__ import annotations

from taskgrove.cli.error_words import error_lines
from taskgrove.cli.run_session import _reasons
from taskgrove.commands.composition.refused import refused_command
from taskgrove.commands.leaf_runner import Refusal


def test_a_reason_that_many_steps_have_is_told_once() -> None:
    reasons = ["low-cbf/subarray/01: no answer"] * 3 + ["mid-pst/beam/01: no answer"]
    error = refused_command("configure", "configure is rejected", reasons, path="configure")
    assert error_lines(error) == [
        "configure is rejected",
        "  at:      configure",
        "  because: low-cbf/subarray/01: no answer (3 steps)",
        "  because: mid-pst/beam/01: no answer",
    ]
    assert str(error).count("low-cbf") == 1


def test_the_rest_of_many_reasons_is_counted() -> None:
    error = refused_command("go", "go is rejected", [f"{n}: no" for n in range(25)], path="go")
    assert error_lines(error)[-1] == "  because: 5 more"


def test_one_device_in_the_way_of_many_leaves_is_one_reason() -> None:
    refused = [Refusal("it does not answer", path=f"go/step-{number}") for number in range(5)]
    refused.append(Refusal("it has no command Scna", path="go/scan"))
    assert _reasons(refused) == [
        "go/step-0, go/step-1, go/step-2 and 2 more: it does not answer",
        "go/scan: it has no command Scna",
    ]
