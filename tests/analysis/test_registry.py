"""Analyses by name: near misses, plug-ins, and nothing that a configuration could import."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from typing import Any

import pytest

from taskgrove.analysis.parameters import TaskParameters, ThirdPartyParameters
from taskgrove.analysis.plain.form import from_plain, to_plain
from taskgrove.analysis.registry import ENTRY_POINT_GROUP, AnalysisEntry, AnalysisRegistry
from taskgrove.errors import AnalysisError


class Peaks(TaskParameters):
    n: int = 1


class Tool(ThirdPartyParameters):
    executable: str = "/bin/true"


def entry(name: str = "FindPeaks", **fields: Any) -> AnalysisEntry:
    return AnalysisEntry(name, Peaks, **({"task": "package.module:FindPeaks"} | fields))


def test_fields_of_an_entry() -> None:
    assert entry() == AnalysisEntry("FindPeaks", Peaks, "package.module:FindPeaks", None, None, "")
    assert entry().is_first_party
    assert entry().program is None
    assert AnalysisEntry("Tool", Tool).program == "/bin/true"
    assert AnalysisEntry("Tool", Tool, executable="/bin/echo").program == "/bin/echo"
    assert AnalysisEntry("Tool", ThirdPartyParameters).program == ""  # the parameters name it


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"task": "x:Y", "executable": "/bin/true"}, "both"),
        ({"task": None}, "nothing to run"),
        ({"task": "package.module"}, "no place of a class"),
        ({"task": "os.system('x'):Y"}, "no place of a class"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
    ],
)
def test_entries_that_cannot_be(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(AnalysisError, match=why):
        entry(**fields)


def test_a_name_is_found_and_a_near_miss_is_told() -> None:
    registry = AnalysisRegistry()
    with pytest.raises(AnalysisError, match="none is registered"):
        registry.get("x")
    registry.register(entry(), entry("IndexPeaks"))
    registry.register(entry())  # the same once more
    assert registry.get("FindPeaks") == entry()
    assert registry.names == ("FindPeaks", "IndexPeaks")
    assert [item.name for item in registry] == ["FindPeaks", "IndexPeaks"]
    assert "FindPeaks" in registry
    with pytest.raises(AnalysisError, match="no analysis 'FindPeeks'") as caught:
        registry.get("FindPeeks")
    assert caught.value.hint == "did you mean 'FindPeaks'? known: FindPeaks, IndexPeaks"
    with pytest.raises(AnalysisError, match="another analysis is registered"):
        registry.register(entry(task="other:Class"))


class FakePoint:
    """An entry point as the metadata of an installed package holds it."""

    def __init__(self, name: str, loaded: Any) -> None:
        self.name = name
        self.value = f"plugin:{name}"
        self._loaded = loaded
        self.loads = 0

    def load(self) -> Any:
        self.loads += 1
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


def test_packages_bring_analyses_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        FakePoint("one", entry("One")),
        FakePoint("many", [entry("Two"), entry("Three")]),
        FakePoint("function", lambda: entry("Four")),
        FakePoint("broken", ImportError("no module named 'psana'")),
        FakePoint("wrong", "os.system"),
    ]
    asked = []
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: asked.append(group) or points
    )
    registry = AnalysisRegistry()
    troubles = registry.load_plugins()
    assert asked == [ENTRY_POINT_GROUP]
    assert registry.names == ("Four", "One", "Three", "Two")
    assert [line.split(":")[0] for line in troubles] == [
        "entry point broken = plugin", "entry point wrong = plugin",
    ]  # fmt: skip
    assert "psana" in troubles[0]
    registry.load_plugins()
    assert points[0].loads == 1


def test_an_operator_names_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("beamline_analyses")
    module.ENTRIES = [entry("Beam")]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "beamline_analyses", module)
    monkeypatch.setitem(sys.modules, "nothing_here", types.ModuleType("nothing_here"))
    registry = AnalysisRegistry()
    registry.load_module("beamline_analyses")
    registry.load_module("beamline_analyses")
    assert registry.names == ("Beam",)
    with pytest.raises(AnalysisError, match="brings no analysis"):
        registry.load_module("nothing_here")
    with pytest.raises(AnalysisError, match="cannot be imported: ModuleNotFoundError"):
        registry.load_module("no_such_module_anywhere")


def test_a_registry_reads_the_parameters_of_its_analyses() -> None:
    registry = AnalysisRegistry()
    registry.register(entry())
    plain = to_plain(Peaks(n=3))
    assert from_plain(plain, types=registry.plain_types()) == Peaks(n=3)
