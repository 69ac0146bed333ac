"""The text of a configuration, as a header and sections that know their lines.

Two forms are read. LUTE's has two YAML documents: the header, then one section for each
analysis. Ours is one document with the header under ``header``.

Types of unquoted values follow LUTE (YAML 1.1: ``yes`` and ``off`` are booleans) as long as
nothing is lost: ``007``, ``1_000``, ``12:30`` and ``2024-05-01`` stay texts, and a number
remembers how it was written.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.analysis.substitution import EARLIER
from taskgrove.analysis.written import as_written
from taskgrove.commands.command_map.document import MapLimits, read_yaml_documents, too_big
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import MapProblem, Mark, Problems, join_path
from taskgrove.errors import AnalysisError, MapError, errno_name

#: How big a configuration may be.
LIMITS: Final = MapLimits(max_bytes=4 << 20, max_depth=64, max_nodes=100_000, max_aliases=1_000)
#: The section of our form that is the header.
HEADER: Final = "header"


def _forms(*words: str) -> list[str]:
    return [form for word in words for form in (word, word.title(), word.upper())]


_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", *_forms("null")), None),
    **dict.fromkeys(_forms("true", "yes", "on"), True),
    **dict.fromkeys(_forms("false", "no", "off"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_BASED_INT = re.compile(r"[-+]?0(?:x[0-9a-fA-F]+|b[01]+|o[0-7]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
# libyaml refuses any version but 1.1 and 1.2; LUTE's files say 1.3.
_VERSION = re.compile(r"^%YAML([ \t]+1\.[0-9]+[ \t]*(?:#.*)?\r?)$", re.MULTILINE)


def scalar(text: str) -> Any:
    """Return the value of an unquoted scalar.

    Raises:
        ValueError: A whole number has too many digits.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return as_written(int(text), text)
    if _BASED_INT.match(text):
        return as_written(int(text, 0), text)
    if _FLOAT.match(text) and not _LEADING_ZERO.match(text):
        number = float(text)
        return as_written(number, text) if math.isfinite(number) else text
    return text


@dataclass(frozen=True, slots=True)
class Layout:
    """A configuration as it was read.

    Attributes:
        header: The header, a mapping.
        tasks: All else: a mapping of sections and of variables by name.
        is_two_documents: Whether it has LUTE's form.
        warnings: Keys that stand twice, which LUTE's form allows: the last one counts.
        from_environment: The variables that gave keys of the header, by key.
    """

    header: Node
    tasks: Node
    is_two_documents: bool
    warnings: tuple[MapProblem, ...] = ()
    from_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def sections(self) -> dict[str, Node]:
        """The sections by name; an empty one counts."""
        return {
            name: node
            for name, node in self.tasks.value.items()
            if (node.kind == "mapping" or node.value is None) and not name.startswith("x-")
        }


def read_file(file: str | Path) -> bytes:
    """Return the content of a configuration file.

    Raises:
        AnalysisError: It is no regular file, too big, or cannot be read.
    """
    path = Path(file)
    try:
        with problems_of(str(file)) as problems:
            if "\0" in str(path):
                raise problems.stop("this is not the name of a file", found=str(path))
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would block, a device never end
                raise problems.stop("this is not a regular file", hint="name a YAML file")
            if status.st_size > LIMITS.max_bytes:
                raise too_big(problems, status.st_size, LIMITS)
            return path.read_bytes()
    except OSError as exc:
        raise AnalysisError(
            f"{file}: the file cannot be read: {exc.strerror or exc}",
            file=file,
            errno_name=errno_name(exc),
        ) from exc


def read_layout(text: str | bytes, problems: Problems) -> Layout:
    """Return the header and the sections of a text.

    Raises:
        MapError: It cannot be read; ``problems`` has all that is wrong.
    """
    if isinstance(text, bytes):
        text = _VERSION_BYTES.sub(rb"#YAML\1", text)
    else:
        text = _VERSION.sub(r"#YAML\1", text)
    trees = read_yaml_documents(text, problems, LIMITS, scalar=scalar, max_documents=2)
    documents = [
        as_mapping(tree, "a document of a configuration", problems, hint=_HINT) for tree in trees
    ]
    if not documents:
        raise problems.stop("there is nothing in it", hint=_HINT)
    if len(documents) == 2:
        layout = Layout(documents[0], documents[1], True, tuple(problems.doubled))
        problems.doubled.clear()
    else:
        layout = _single(documents[0], problems)
    if EARLIER in layout.tasks.value:
        problems.add(
            f"the name {EARLIER!r} is reserved for results of earlier runs", EARLIER,
            layout.tasks.key_marks[EARLIER], hint="give it another name",
        )  # fmt: skip
    problems.raise_any()
    return layout


_VERSION_BYTES = re.compile(_VERSION.pattern.encode(), re.MULTILINE)
_HINT: Final = (
    "a configuration has a header and one section for each analysis: 'header: {…}', or two"
    " documents, of which the first is the header"
)


def as_mapping(
    node: Node | None,
    subject: str,
    problems: Problems,
    path: str = "",
    mark: Mark | None = None,
    hint: str | None = None,
) -> Node:
    """Return a mapping, an empty one for nothing; any other node is a problem."""
    if node is None:
        return Node("mapping", {})
    if node.kind == "mapping":
        return node
    if node.kind != "scalar" or node.value is not None:
        said = f"{subject} is a mapping, not {node.type_word}"
        problems.add(said, path, mark or node.mark, hint=hint)
    return Node("mapping", {}, node.mark)


def _single(document: Node, problems: Problems) -> Layout:
    """Return the layout of our form: one document, which holds the header."""
    tasks = Node(
        "mapping",
        {name: node for name, node in document.value.items() if name != HEADER},
        document.mark,
        document.key_marks,
    )
    if HEADER in document.value:
        header = as_mapping(document.value[HEADER], "the header", problems, HEADER)
        return Layout(header, tasks, False)
    for name in AnalysisHeader.model_fields:
        node = document.value.get(name)
        if node is not None and node.kind == "scalar":
            problems.add(
                f"the key {name!r} of the header is among the sections", name,
                document.key_marks[name], hint="put it under 'header:'",
            )  # fmt: skip
    return Layout(Node("mapping", {}), tasks, False)


def place_of(node: Node, path: str, keys: tuple[Any, ...]) -> tuple[str, Mark]:
    """Return the path and the place to which ``keys`` lead, as far as the text goes.

    Args:
        node: Where the keys begin.
        path: The path of that node.
        keys: Keys of mappings and indices of lists; other keys end the path.
    """
    mark = node.mark
    for key in keys:
        if node.kind == "mapping" and key in node.value:
            mark = node.key_marks.get(key, node.value[key].mark)
            node, path = node.value[key], join_path(path, key)
        elif node.kind == "sequence" and isinstance(key, int) and key < len(node.value):
            node, path = node.value[key], join_path(path, key)
            mark = node.mark
        else:
            break
    return path, mark


@contextmanager
def problems_of(file: str | None) -> Iterator[Problems]:
    """Collect problems of a configuration, and raise all of them at the end.

    Raises:
        AnalysisError: There is at least one.
    """
    problems = Problems(file, what="configuration")
    try:
        yield problems
        problems.raise_any()
    except MapError as exc:  # the reader of maps reads the text
        raise AnalysisError(
            exc.message, file=exc.file, key=exc.path, line=exc.line, problems=exc.problems,
            nearest=exc.nearest, hint=exc.hint,
        ) from None  # fmt: skip
