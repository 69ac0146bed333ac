"""Declared contracts of results: names, near misses, and the field that breaks one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from taskgrove.analysis.schemas import SCHEMAS, SchemaRegistry, check_payload, require_payload
from taskgrove.errors import AnalysisError


class Ring(BaseModel):
    radius: float


class Rings(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    rings: list[Ring]
    image: np.ndarray | None = None

    @field_validator("rings")
    @classmethod
    def some(cls, value: list[Ring]) -> list[Ring]:
        if not value:
            raise ValueError("there is no ring")
        return value


class Named(BaseModel):
    name: str


@pytest.fixture
def schemas() -> SchemaRegistry:
    registry = SchemaRegistry()
    registry.register("rings", Rings)
    registry.register("named", Named)
    registry.register("numbers", list[int])
    return registry


def test_a_payload_that_keeps_to_all(schemas: SchemaRegistry) -> None:
    payload = {"rings": [{"radius": 1.5}], "name": "x", "image": np.zeros(3)}
    assert schemas.check_payload("rings;named", payload) == []
    assert schemas.check_payload(None, payload) == []
    assert schemas.check_payload("", payload) == []
    assert schemas.check_payload("numbers", [1, 2]) == []


@pytest.mark.parametrize(
    "text", ["rings; named", " rings ;named;", "rings;named;rings", ";;rings;named"]
)
def test_s4_spaces_and_doubles_do_not_count(schemas: SchemaRegistry, text: str) -> None:
    """LUTE drops a name with a space silently, and breaks on one that stands twice."""
    assert schemas.names_in(text) == ("rings", "named")


def test_the_field_is_named(schemas: SchemaRegistry) -> None:
    problems = schemas.check_payload("rings;named", {"rings": [{"radius": 1}, {"radius": "wide"}]})
    assert [(item.schema, item.field) for item in problems] == [
        ("rings", "rings[1].radius"), ("named", "name"),
    ]  # fmt: skip
    assert str(problems[0]).startswith("payload.rings[1].radius: 'wide' should be a valid number")
    assert str(problems[1]) == "payload.name: it is missing (schema named)"
    (problem,) = schemas.check_payload("rings", {"rings": []})
    assert str(problem) == "payload.rings: there is no ring (schema rings)"
    assert str(schemas.check_payload("numbers", ["x"])[0]).startswith("payload[0]: 'x' should be")
    assert str(schemas.check_payload("numbers", 3)[0]).startswith("payload: 3 should be")


def test_a_field_inside_an_array_is_named_by_its_index(schemas: SchemaRegistry) -> None:
    problems = schemas.check_payload("rings", {"rings": np.zeros(2), "name": "a"})
    assert [problem.field for problem in problems] == ["rings[0]", "rings[1]"]


def test_an_unknown_name_is_an_error_with_a_near_miss(schemas: SchemaRegistry) -> None:
    with pytest.raises(AnalysisError, match="no schema 'ring'") as caught:
        schemas.check_payload("named;ring", {})
    assert caught.value.hint == "did you mean 'rings'?"
    with pytest.raises(AnalysisError, match="known: HDF5, NONE"):
        SchemaRegistry().names_in("xyz")


def test_names_of_schemas(schemas: SchemaRegistry) -> None:
    schemas.register(" named ", Named)  # the same once more
    with pytest.raises(AnalysisError, match="another schema"):
        schemas.register("named", Rings)
    for name in ("", " ", "a;b", "a\nb", 3):
        with pytest.raises(AnalysisError, match="cannot be the name"):
            schemas.register(name, Named)  # type: ignore[arg-type]
    with pytest.raises(AnalysisError, match="not a type that pydantic can check"):
        schemas.register("odd", object())


def test_a_schema_that_raises_is_a_problem_and_nothing_worse(schemas: SchemaRegistry) -> None:
    class Odd(BaseModel):
        x: Any

        @field_validator("x")
        @classmethod
        def broken(cls, value: Any) -> Any:
            raise KeyError("oops")

    schemas.register("odd", Odd)
    (problem,) = schemas.check_payload("odd", {"x": 1})
    assert "the schema raised KeyError" in problem.message


def test_lutes_own_schemas_are_there(tmp_path: Path) -> None:
    assert {"NONE", "HDF5"} <= set(SCHEMAS.names)
    assert check_payload("NONE", object()) == []
    good, late, wrong = tmp_path / "a.h5", tmp_path / "b.h5", tmp_path / "c.h5"
    good.write_bytes(b"\x89HDF\r\n\x1a\n rest")
    late.write_bytes(b" " * 512 + b"\x89HDF\r\n\x1a\n")
    wrong.write_bytes(b"no")
    assert check_payload("HDF5", str(good)) == []
    assert check_payload("HDF5", late) == []
    assert check_payload("HDF5", "a.h5", folder=tmp_path) == []
    assert "is no HDF5 file" in check_payload("HDF5", wrong)[0].message
    assert "cannot be read" in check_payload("HDF5", tmp_path / "none.h5")[0].message
    assert check_payload("HDF5", {"a": 1}) != []


def test_a_broken_contract_can_be_raised(schemas: SchemaRegistry) -> None:
    require_payload("NONE", 1)
    with pytest.raises(AnalysisError, match=r"breaks its contract: payload: .*HDF5") as caught:
        require_payload("HDF5", {})
    assert len(caught.value.problems) == len(check_payload("HDF5", {}))
