"""Where each value of a configuration came from: file, line, and everything between."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.analysis.configuration import Configuration, parse_configuration
from taskgrove.analysis.parameters import Parameter, TaskParameters, ThirdPartyParameters
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.events import Place
from taskgrove.events.redacted import without_secret
from taskgrove.events.value_origin import ValueOrigin
from taskgrove.redaction import Redaction

TEXT = """\
header:
  experiment: mfx100
  run: 7
  work_dir: "{{ $SCRATCH }}/{{ experiment }}"
base: lyso
tag: "{{ base }}_x"
Other: {depth: 3}
Fit:
  out_file: "{{ work_dir }}/{{ tag }}_r{{ run:04d }}.h5"
  depth: "{{ Other.depth }}"
  names: [a, "{{ frames }}", ["{{ $SCRATCH }}"]]
"""


class FitParameters(TaskParameters):
    out_file: str = "out.h5"
    depth: int = 1
    frames: int = 4
    names: list[Any] = Parameter(default_factory=list)
    label: str = "{{ frames }} frames"
    width: float = Parameter(0.5, alias="the-width")


FIT = AnalysisEntry("Fit", FitParameters, task="m:C")


def parsed(text: str = TEXT, **options: Any) -> Configuration:
    options.setdefault("environ", {"SCRATCH": "/scratch"})
    return parse_configuration(text, file="c.yaml", **options)


def origins(
    configuration: Configuration, given: dict[str, Any] | None = None
) -> dict[str, ValueOrigin]:
    return {it.name: it for it in configuration.resolved(FIT, given).origins}


def told(origin: ValueOrigin) -> tuple[Any, ...]:
    """Return an origin as kind, line, value, and what it used."""
    line = None if origin.place is None else origin.place.line
    return (origin.kind, line, origin.value, *(told(item) for item in origin.used))


def test_each_parameter_says_where_it_came_from() -> None:
    found = origins(parsed())
    assert list(found) == ["out_file", "depth", "frames", "names", "label", "width"]
    assert found["out_file"].place == Place("c.yaml", 9, "Fit.out_file")
    assert found["out_file"].written == "{{ work_dir }}/{{ tag }}_r{{ run:04d }}.h5"
    assert told(found["out_file"]) == (
        "section", 9, "",
        ("header", 4, "/scratch/mfx100",
         ("environment", None, "/scratch"), ("header", 2, "mfx100")),
        ("variable", 6, "lyso_x", ("variable", 5, "lyso")),
        ("header", 3, "7"),
    )  # fmt: skip
    assert [item.name for item in found["out_file"].used] == [
        "{{ work_dir }}", "{{ tag }}", "{{ run:04d }}",
    ]  # fmt: skip
    (other,) = found["depth"].used
    assert other.place == Place("c.yaml", 7, "Other.depth")
    assert told(found["frames"]) == ("default", None, "")
    assert told(found["names"]) == (
        "section", 11, "", ("default", None, "4"), ("environment", None, "/scratch"),
    )  # fmt: skip
    assert told(found["label"]) == ("default", None, "", ("default", None, "4"))


def test_given_values_come_before_those_of_the_text() -> None:
    text = TEXT.replace("{{ Other.depth }}", "{{ Fit.frames }}") + "  frames: 5\n"
    found = origins(parsed(text), {"frames": 9, "out_file": "{{ tag }}.h5"})
    assert told(found["frames"]) == ("given", None, "")
    assert told(found["depth"]) == ("section", 10, "", ("given", None, "9"))
    assert told(found["names"])[3] == ("given", None, "9")
    assert told(found["out_file"]) == (
        "given", None, "", ("variable", 6, "lyso_x", ("variable", 5, "lyso")),
    )  # fmt: skip


def test_an_alias_is_found() -> None:
    found = origins(parsed(TEXT + "  the-width: 2\n"))
    assert told(found["width"]) == ("section", 12, "")


def test_the_header_says_what_was_given_and_what_the_batch_system_set() -> None:
    header = parsed(header={"work_dir": "/given"}).header_origins()
    assert [told(it)[:2] for it in header[:3]] == [("header", 2), ("header", 3), ("given", None)]
    assert {it.kind for it in header[3:]} == {"default"}
    lute = 'experiment: ""\nwork_dir: /w\n---\nFit:\n  out_file: "{{ run }}"\n'
    found = parsed(lute, environ={"RUN_NUM": "12", "EXPERIMENT": "mfx1"})
    by_name = {it.name: it for it in found.header_origins()}
    assert (by_name["run"].kind, by_name["run"].written) == ("environment", "$RUN_NUM")
    assert by_name["experiment"].written == "$EXPERIMENT"
    (used,) = origins(found)["out_file"].used
    assert (used.kind, used.value, used.written) == ("environment", "12", "$RUN_NUM")


class Earlier:
    """Two analyses of earlier runs, of which one is there."""

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        if task != "B":
            raise LookupError("there is none")
        return f"{task} of {experiment} {run}: {key}"

    def run_of(self, experiment: str, run: str, task: str) -> str | None:
        return f"run-of-{task}"


def test_an_earlier_result_names_its_run() -> None:
    text = "header: {experiment: x, run: 3}\nFit: {out_file: '{{ earlier.A.k | earlier.B.k }}'}\n"
    (used,) = origins(parsed(text, earlier=Earlier()))["out_file"].used
    assert (used.kind, used.value, used.run) == ("earlier", "B of x 3: k", "run-of-B")

    def plain(experiment: str, run: str, task: str, key: str) -> Any:
        return 1

    (used,) = origins(parsed(text, earlier=plain))["out_file"].used
    assert (used.kind, used.run) == ("earlier", None)


def test_the_entry_gives_a_program() -> None:
    entry = AnalysisEntry("Tool", ThirdPartyParameters, executable="/bin/tool")
    first, *_, last = parsed("Tool: {x: 1}").resolved(entry).origins
    assert (first.name, first.kind) == ("executable", "entry")
    assert (last.name, last.kind) == ("x", "section")


def test_secrets_are_not_told() -> None:
    text = TEXT + '  label: "{{ $DB_PASSWORD }}"\n'
    found = parsed(text, environ={"SCRATCH": "/s", "DB_PASSWORD": "hunter2secret"})
    shown = without_secret(origins(found)["label"], Redaction())
    assert "hunter2secret" not in repr(shown)
    hidden = ValueOrigin("token", "section", written="abc{{ x }}defgh")
    assert "abc" not in repr(without_secret(hidden, Redaction()))


def test_values_that_refer_to_many_others_are_told_within_a_bound() -> None:
    wide = range(12)
    lines = [
        f"v{level}_{n}: '{' '.join(f'{{{{ v{level + 1}_{m} }}}}' for m in wide)}'"
        for level in range(3)
        for n in wide
    ]
    ends = [f"v3_{n}: x" for n in wide]
    text = "\n".join(["header: {}", *lines, *ends, "Fit: {out_file: '{{ v0_0 }}{{ v0_1 }}'}"])
    todo, count = list(origins(parsed(text))["out_file"].used), 0
    while todo:
        count += 1
        todo += todo.pop().used
    assert count == 50


@pytest.mark.parametrize("count", [1, 40])
def test_what_is_told_of_one_value_has_a_bound(count: int) -> None:
    chain = "\n".join(f'v{n}: "{{{{ v{n + 1} }}}}"' for n in range(count))
    text = f'header: {{}}\n{chain}\nv{count}: end\nFit: {{out_file: "{{{{ v0 }}}}"}}\n'
    depth, item = 0, origins(parsed(text))["out_file"]
    while item.used:
        depth, item = depth + 1, item.used[0]
    assert depth == min(count + 1, 8)
