"""What an analysis in another interpreter imports uses nothing that Python 3.9 lacks.

The tests of such analyses run in that Python where it is there. Here the modules are read, also
those that only some figures need.
"""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.analysis.other_python import OLDEST

ROOT = Path(__file__).parents[2]
#: Names of typing, and keywords of calls, that came later.
NEW_NAMES = {"Concatenate", "Never", "ParamSpec", "Self", "TypeAlias", "TypeGuard", "assert_never"}
NEW_KEYWORDS = {"zip": {"strict"}, "dataclass": {"slots", "kw_only", "match_args"}}


def old_modules() -> list[Path]:
    """Return the modules that are checked for the oldest Python."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["ruff"]["per-file-target-version"]
    version = "py" + "".join(map(str, OLDEST))
    assert set(patterns.values()) == {version}
    return sorted({file for pattern in patterns for file in _files(pattern)})


def _files(pattern: str) -> Iterator[Path]:
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    for words in itertools.product(*parts):
        found = list(ROOT.glob("".join(words)))
        assert found, words
        yield from found


def too_new(tree: ast.AST) -> Iterator[str]:
    """Yield what a module does that the oldest Python cannot, outside of ``TYPE_CHECKING``."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
            continue
        todo += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module == "typing":
            yield from NEW_NAMES & {alias.name for alias in node.names}
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            given = {keyword.arg for keyword in node.keywords}
            yield from (f"{name}({word})" for word in NEW_KEYWORDS.get(name, set()) & given)
            if name in {"isinstance", "issubclass"} and isinstance(node.args[-1], ast.BinOp):
                yield ast.unparse(node)


@pytest.mark.parametrize("file", old_modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_uses_nothing_newer(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=OLDEST)
    assert list(too_new(tree)) == []


@pytest.mark.parametrize(
    "text",
    [
        "zip(a, b, strict=True)", "isinstance(a, int | str)", "from typing import TypeAlias",
        "@dataclasses.dataclass(slots=True)\nclass A: ...",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from typing import Self",
    ],
)  # fmt: skip
def test_what_is_newer_is_found(text: str) -> None:
    assert list(too_new(ast.parse(text)))
    under = "if TYPE_CHECKING:\n" + "".join(f"    {line}\n" for line in text.splitlines())
    assert not list(too_new(ast.parse(under)))
