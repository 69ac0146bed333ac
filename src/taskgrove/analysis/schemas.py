"""Schemas: declared contracts of results, which the payload of an analysis is checked against.

An analysis names the schemas that its result keeps to in ``impl_schemas``, separated by ``;``
(``"rings;HDF5"``): the payload has to satisfy every one of them. A schema is a pydantic model,
or any type that pydantic can check, registered by name, in code.

Threads: a registry may be used by any thread; ``_lock`` guards the schemas by name.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, TypeAdapter, ValidationError, ValidationInfo
from pydantic.errors import PydanticUserError

from taskgrove.commands.command_map.problems import join_path, shown
from taskgrove.errors import AnalysisError, did_you_mean

#: Most problems that are reported for one schema.
MAX_PROBLEMS: Final = 100
_HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


class SchemaProblem(NamedTuple):
    """One thing in which a payload breaks its schema.

    Attributes:
        schema: The name of the schema.
        field: The path inside the payload, such as ``rings[3].radius``; empty for the whole.
        message: The problem.
    """

    schema: str
    field: str
    message: str

    def __str__(self) -> str:
        where = f"payload.{self.field}" if self.field else "payload"
        where = where.replace("payload.[", "payload[")
        return f"{where}: {self.message} (schema {self.schema})"


class SchemaRegistry:
    """A set of schemas by name; ``NONE`` (anything) and ``HDF5`` (a file) are always there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schemas: dict[str, tuple[Any, TypeAdapter[Any]]] = {}
        self.register("NONE", Any)
        self.register("HDF5", _Hdf5File)

    def register(self, name: str, model: Any) -> None:
        """Add a schema; the same one may come again.

        Args:
            name: Its name; without ``;``, and spaces around it do not count.
            model: A pydantic model, or a type that pydantic can check.

        Raises:
            AnalysisError: Another schema has the name, the name is not usable, or pydantic
                cannot check the type.
        """
        clean = name.strip() if isinstance(name, str) else ""
        if not clean or ";" in clean or not clean.isprintable():
            raise AnalysisError(f"{name!r} cannot be the name of a schema")
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(model)
        except (PydanticUserError, TypeError) as exc:
            raise AnalysisError(f"{model!r} is not a type that pydantic can check") from exc
        with self._lock:
            if self._schemas.setdefault(clean, (model, adapter))[0] is not model:
                raise AnalysisError(
                    f"another schema is registered as {clean!r}", hint="give one another name"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all schemas, sorted."""
        with self._lock:
            return tuple(sorted(self._schemas))

    def names_in(self, impl_schemas: str | None) -> tuple[str, ...]:
        """Return the names that a declaration lists, each once, in order.

        Raises:
            AnalysisError: One of them is not registered; the hint has the nearest name.
        """
        found = [name.strip() for name in (impl_schemas or "").split(";")]
        names = tuple(dict.fromkeys(name for name in found if name))
        known = self.names
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known, f"known: {', '.join(known)}")
                raise AnalysisError(f"there is no schema {name!r}", key="impl_schemas", hint=hint)
        return names

    def check_payload(
        self, impl_schemas: str | None, payload: Any, *, folder: str | Path | None = None
    ) -> list[SchemaProblem]:
        """Return the problems of a payload with the schemas that its analysis declares.

        Args:
            impl_schemas: The declaration: names separated by ``;``, or None.
            payload: The payload; it is not changed.
            folder: The folder in which the analysis ran, for relative paths in the payload.

        Returns:
            An empty list when the payload keeps to all schemas.

        Raises:
            AnalysisError: A name is not registered.
        """
        problems: list[SchemaProblem] = []
        for name in self.names_in(impl_schemas):
            with self._lock:
                adapter = self._schemas[name][1]
            try:
                adapter.validate_python(payload, context={"folder": folder})
            except ValidationError as exc:
                problems += _problems(name, payload, exc)
            except Exception as exc:  # noqa: BLE001 - a validator of a user can raise anything
                said = f"the schema raised {type(exc).__name__}: {exc}"
                problems.append(SchemaProblem(name, "", said))
        return problems


def _problems(name: str, payload: Any, exc: ValidationError) -> list[SchemaProblem]:
    found = []
    for error in exc.errors(include_url=False)[:MAX_PROBLEMS]:
        path = _field(payload, error["loc"], is_missing=error["type"] == "missing")
        said = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "missing":
            said = "it is missing"
        elif said.startswith("Input "):
            said = f"{shown(error.get('input'))} {said.removeprefix('Input ')}"
        found.append(SchemaProblem(name, path, said))
    return found


def _field(payload: Any, keys: tuple[int | str, ...], *, is_missing: bool) -> str:
    """Return the path of a field; pydantic's keys also name branches of a union."""
    path, value = "", payload
    for key in keys:
        # All that has numbered items: a list, an array, a deque.
        is_index = isinstance(value, Collection) and isinstance(key, int) and key < len(value)
        is_index = is_index and hasattr(value, "__getitem__") and not isinstance(value, Mapping)
        if is_index or (isinstance(value, Mapping) and key in value):
            value = value[key]
        elif not is_missing:
            break
        path = join_path(path, key)
    return path


def _is_hdf5(value: str | Path, info: ValidationInfo) -> str | Path:
    folder = (info.context or {}).get("folder")
    path = Path(folder, value) if folder is not None else Path(value)
    try:
        with path.open("rb") as file:
            for place in (0, 512, 1024, 2048):  # a user block may come first
                file.seek(place)
                if file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE:
                    return value
    except (OSError, ValueError) as exc:
        raise ValueError(f"the file {str(value)!r} cannot be read: {exc}") from exc
    raise ValueError(f"the file {str(value)!r} is no HDF5 file")


_Hdf5File: Final = Annotated[str | Path, AfterValidator(_is_hdf5)]

#: The registry that executors use, and its methods as functions.
SCHEMAS: Final = SchemaRegistry()


register_schema: Final = SCHEMAS.register
check_payload: Final = SCHEMAS.check_payload


def require_payload(
    impl_schemas: str | None, payload: Any, *, folder: str | Path | None = None
) -> None:
    """Check a payload by the common registry.

    Raises:
        AnalysisError: It breaks a schema that its analysis declares, or one of the names is not
            registered; ``key`` is the field, and ``problems`` lists all.
    """
    problems = check_payload(impl_schemas, payload, folder=folder)
    if not problems:
        return
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise AnalysisError(
        f"the result breaks its contract: {problems[0]}{more}",
        key=problems[0].field or None,
        problems=[str(problem) for problem in problems],
    )
