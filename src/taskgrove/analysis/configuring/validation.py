"""Values of a section as validated parameters; errors have key and line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from taskgrove.analysis.configuring.config_text import place_of
from taskgrove.analysis.parameters.header import is_header_field
from taskgrove.analysis.written import written_text
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import NOWHERE, Mark, Problems, join_path, shown
from taskgrove.errors import did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)

_DEFAULT_HINT: Final = "give the parameter a value, or correct its class"
#: Errors of pydantic that say that a text was wanted.
_TEXT_ERRORS: Final = frozenset({"string_type", "string_sub_type"})
#: Those of a value that is none of some; the names are in their text, in quotes.
_CHOICE_ERRORS: Final = frozenset({"literal_error", "enum"})


def validate(
    model: type[ModelT],
    values: dict[str, Any],
    problems: Problems,
    *,
    node: Node,
    path: str,
    given: Iterable[str] = (),
) -> ModelT | None:
    """Return the parameters that values make, or None where they are wrong.

    A number where a text is wanted becomes the text as it was written: ``run: 0012`` and
    ``version: 1.10`` lose nothing.

    Args:
        model: The class of the parameters.
        values: The values by key.
        problems: Takes the errors.
        node: The node of the values in the text.
        path: The path of that node.
        given: Keys whose values come from elsewhere, such as the command line.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    values = _copied(values)
    put = [_put_text(values, item) for item in errors if item["type"] in _TEXT_ERRORS]
    if any(put):
        try:
            return model.model_validate(values)
        except ValidationError as exc:
            errors = exc.errors(include_url=False)
    _tell(model, errors, problems, node, path, frozenset(given))
    return None


def _copied(value: Any) -> Any:
    """Return a copy of lists and dicts: the value of a placeholder may be in two places."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _put_text(values: Any, error: Any) -> bool:
    """Replace the number that is wrong by how it was written; return whether it was a number."""
    keys = error["loc"]
    if len(keys) == 1:
        values.setdefault(keys[0], error["input"])  # a default
    holder: Any = None
    last: Any = None
    value = values
    for key in keys:
        is_index = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if not is_index and not (isinstance(value, dict) and key in value):
            break  # the other keys name a branch of a union
        holder, last, value = value, key, value[key]
    if holder is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    holder[last] = written_text(value)
    return True


def _tell(
    model: type[BaseModel],
    errors: list[Any],
    problems: Problems,
    node: Node,
    path: str,
    outside: frozenset[str],
) -> None:
    told: set[tuple[str, str]] = set()  # branches of a union often report the same
    # Unknown keys first: they may be misspelt missing ones.
    for error in sorted(errors, key=lambda item: item["type"] != "extra_forbidden"):
        keys = error["loc"]
        place, mark = place_of(node, path, keys)
        is_default = _is_default(error, node, outside)
        if keys and (is_default or keys[0] in outside):
            place, mark = join_path(path, keys[0]), NOWHERE
        if error["type"] == "missing":
            problems.add(
                f"the parameter {str(keys[-1])!r} is missing",
                join_path(place, keys[-1]),
                mark,
                hint=_described(model, keys),
                told_after=_last_line(node) if len(keys) == 1 else NOWHERE,
            )
        elif error["type"] == "extra_forbidden":
            holder = _model_at(model, keys[:-1])
            names = _keys_of(holder or model)
            problems.add_unknown("parameter", str(keys[-1]), place, mark, names)
        else:
            message, hint = _words(model, error)
            if is_default:
                message, hint = f"{message}: it is the default of {model.__name__}", _DEFAULT_HINT
            if (place, message) in told:
                continue
            told.add((place, message))
            problems.add(message, place, mark, found=error.get("input"), hint=hint)


def _is_default(error: Any, node: Node, outside: frozenset[str]) -> bool:
    """Return whether an error speaks of a default: of a value that nobody gave."""
    keys = error["loc"]
    is_told = error["type"] in {"missing", "extra_forbidden"}
    return bool(keys) and not is_told and keys[0] not in node.value and keys[0] not in outside


def _words(model: type[BaseModel], error: Any) -> tuple[str, str | None]:
    said = str(error["msg"])
    keys = error["loc"]
    field = model.model_fields.get(str(keys[0])) if keys else None
    is_secret = field is not None and "Secret" in repr(field.annotation)
    value = "the value" if is_secret or not keys else shown(error.get("input"))
    hint = None
    if error["type"] in _TEXT_ERRORS and isinstance(error.get("input"), bool):
        hint = "put it in quotes to make it a text: yes, no, on and off are booleans"
    if error["type"] in _CHOICE_ERRORS and isinstance(error.get("input"), str):
        hint = did_you_mean(error["input"], re.findall("'(.*?)'", error["ctx"]["expected"]))
    for prefix in ("Value error, ", "Assertion failed, "):
        if said.startswith(prefix):
            return said.removeprefix(prefix), hint
    if said.startswith("Input "):
        return f"{value} {said.removeprefix('Input ')}", hint
    return f"{value}: {said[:1].lower()}{said[1:]}", hint


def _described(model: type[BaseModel], keys: tuple[Any, ...]) -> str | None:
    field = model.model_fields.get(str(keys[-1])) if len(keys) == 1 else None
    if field is None:
        return None
    if type(None) not in get_args(field.annotation):
        return field.description or None
    # With pydantic 1 None was its default.
    words = f"{field.description.rstrip('.')}; " if field.description else ""
    return f"{words}{model.__name__} may give it the default None"


def _keys_of(model: type[BaseModel]) -> list[str]:
    return [
        field.alias or name
        for name, field in model.model_fields.items()
        if not is_header_field(field)
    ]


def _model_at(model: type[BaseModel], keys: tuple[Any, ...]) -> type[BaseModel] | None:
    """Return the model of the mapping at ``keys``, if it is known."""
    for key in keys:
        field = model.model_fields.get(str(key))
        if field is None:
            continue  # an index of a list, a branch of a union
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(models) != 1:
            return None
        model = models[0]
    return model


def _last_line(node: Node) -> Mark:
    """Return the last place of a mapping's keys: missing keys are reported after unknown ones."""
    return max(node.key_marks.values(), key=lambda mark: mark.line or 0, default=NOWHERE)
