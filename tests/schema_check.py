"""A validator for the part of JSON Schema that the exported schema uses.

It is written for the tests from the standard, so that the schema is checked by
something that knows nothing of how maps are loaded.
"""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}
_KNOWN = {
    "$schema", "$ref", "$defs", "title", "description", "default", "type", "enum", "const",
    "properties", "patternProperties", "additionalProperties", "propertyNames", "required",
    "minProperties", "items", "minItems", "maxItems", "uniqueItems", "anyOf", "oneOf", "allOf",
    "not", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
}  # fmt: skip


def _is(value: Any, kind: str) -> bool:
    if kind in ("number", "integer"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and (kind == "number" or float(value).is_integer())
    return isinstance(value, _TYPES[kind])


def accepts(schema: Any, value: Any, root: Any = None) -> bool:
    """Return whether a schema accepts a value."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    assert set(schema) <= _KNOWN, f"the validator does not know {set(schema) - _KNOWN}"

    def ok(part: Any, item: Any = value) -> bool:
        return accepts(part, item, root)

    if "$ref" in schema and not ok(root["$defs"][schema["$ref"].rsplit("/", 1)[1]]):
        return False
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if not all(ok(part) for part in schema.get("allOf", [])):
        return False
    if "anyOf" in schema and not any(ok(part) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(ok(part) for part in schema["oneOf"]) != 1:
        return False
    if "not" in schema and ok(schema["not"]):
        return False
    if isinstance(value, dict):
        return _object(schema, value, ok)
    if isinstance(value, list):
        if schema.get("uniqueItems") and len(value) != len(set(map(repr, value))):
            return False
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return False
        return all(ok(schema.get("items", True), item) for item in value)
    if isinstance(value, str):
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return fits and bool(re.search(schema.get("pattern", ""), value))
    if _is(value, "number"):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        )
    return True


def _object(schema: Any, value: dict[str, Any], ok: Any) -> bool:
    if not set(schema.get("required", [])) <= set(value):
        return False
    if len(value) < schema.get("minProperties", 0):
        return False
    if not all(ok(schema.get("propertyNames", True), key) for key in value):
        return False
    for key, item in value.items():
        parts = [schema["properties"][key]] if key in schema.get("properties", {}) else []
        parts += [
            part for pattern, part in schema.get("patternProperties", {}).items()
            if re.search(pattern, key)
        ]  # fmt: skip
        parts = parts or [schema.get("additionalProperties", True)]
        if not all(ok(part, item) for part in parts):
            return False
    return True
