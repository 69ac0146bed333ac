"""The environment in which templates are filled: Jinja's sandbox, with limits.

The sandbox keeps a template from code, but not from nested loops or from huge numbers, texts and
lists. A template is filled before its program starts, when no limit of an analysis applies yet.
So each new value (of an operator, a filter, a call, a list) is weighed, and each loop counts its
turns.

Imported only where there is a template: Jinja2 belongs to an extra.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, cast

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateRuntimeError, UndefinedError
from jinja2.runtime import Context, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from taskgrove.analysis.parameters.template_weight import MAX_VALUE, grown, listed, weight

#: How often all loops and macros of a template may go round.
MAX_TURNS: Final = 1_000_000
#: Longest text or list that ``*`` makes, and most bits of a number that ``*`` and ``**`` make.
MAX_PRODUCT: Final = 1 << 20
#: Largest weight of all values that a template makes and all text that it repeats.
MAX_WORK: Final = 1 << 27
#: Time of the processor that filling a template may take, in seconds.
MAX_SECONDS: Final = 30.0
#: No template can name them.
_COUNT: Final = "taskgrove: one turn"
_MADE: Final = "taskgrove: a value was made"
_JOINED: Final = "taskgrove: joined by ~"
#: The first argument of a filter that asks Jinja for it.
_HIDDEN: Final[dict[str, Callable[[Context], Any]]] = {
    "context": lambda context: context,
    "eval_context": lambda context: context.eval_ctx,
    "environment": lambda context: context.environment,
}
_REPEATED: Final = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)


class NoSuchNameError(UndefinedError):
    """A template uses a name that is not there.

    Attributes:
        name: The name; empty: not known.
        is_parameter: Whether it would be the name of a parameter, and not of a part of one.
    """

    name: str = ""
    is_parameter: bool = False


class NamedUndefined(StrictUndefined):
    """What stands for a name that is not there: each use of it is a :class:`NoSuchNameError`."""

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:  # fmt: skip
        super().__init__(hint, obj, name, exc)
        if exc is UndefinedError:
            is_parameter = obj is missing
            self._undefined_exception = cast(
                "type[TemplateRuntimeError]",
                lambda message: _no_such_name(message, name or "", is_parameter),
            )


def _no_such_name(message: str, name: str, is_parameter: bool) -> NoSuchNameError:
    made = NoSuchNameError(message)
    made.name, made.is_parameter = name, is_parameter
    return made


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox for filling one template, once."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=self._made, **options)
        self._turns = 0
        self._work = 0
        self._ends_at = time.thread_time() + MAX_SECONDS
        self.globals.pop("lipsum", None)  # text that nobody needs, in any amount
        self.filters = {name: self._bounded(name, made) for name, made in self.filters.items()}

        @pass_context  # else a constant argument would be worked out at once
        def count(_: Context, repeated: int) -> None:
            self._turns += 1
            if self._turns > MAX_TURNS:
                raise SecurityError(f"its loops go round more than {MAX_TURNS:,} times")
            self._spend(repeated)

        self.filters[_COUNT] = count
        self.filters[_MADE] = self._made
        self.filters[_JOINED] = lambda parts: self._made("".join(map(str, parts)))

    def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
        source = _Weighed().visit(source)
        for node in (source, *source.find_all(_REPEATED)):
            fixed = sum(len(part.data) for part in node.find_all(nodes.TemplateData))
            turn = nodes.Filter(nodes.Const(fixed), _COUNT, [], [], None, None)
            assert isinstance(node, (nodes.Template, *_REPEATED))
            node.body.insert(0, nodes.ExprStmt(turn).set_lineno(node.lineno))
        return super()._generate(source, *args, **options)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Work out an operator whose result does not become too large."""
        size = _size(left, operator, right)
        if size > MAX_PRODUCT and operator in ("*", "**"):
            raise SecurityError(f"the result of {operator} is too large")
        if operator == "%" and isinstance(left, (str, bytes)):
            self._check(grown("%", (left, right), {}), "%")
        return self._made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method or a macro; its result does not become too large."""
        name = getattr(called, "__name__", "")
        owner = getattr(getattr(called, "__wrapped__", called), "__self__", None)
        given = args if owner is None or owner is self else (owner, *args)
        self._check(grown(name, given, kwargs), name)
        return self._made(super().call(context, called, *args, **kwargs))

    def _bounded(self, name: str, made: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that refuses to make a value that is too large."""
        first = getattr(getattr(made, "jinja_pass_arg", None), "name", None)

        @pass_context  # so Jinja cannot work it out beforehand, when nobody counts how often
        def bounded(context: Context, *args: Any, **kwargs: Any) -> Any:
            given = tuple(listed(item) for item in args)
            self._check(grown(name, given, kwargs), name)
            hidden = () if first is None else (_HIDDEN[first](context),)
            return self._made(listed(made(*hidden, *given, **kwargs)))

        return bounded

    def _check(self, size: int, name: str) -> None:
        if size > MAX_VALUE:
            raise SecurityError(f"the result of {name} is too large")

    def _made(self, value: Any) -> Any:
        """Count a value that the template made, or puts into its text."""
        size = weight(value)
        self._check(size, "an expression")
        self._spend(size)
        return value

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise SecurityError(f"its values have more than {MAX_WORK:,} letters and items")
        if time.thread_time() > self._ends_at:
            raise SecurityError(f"filling it takes more than {MAX_SECONDS:g} s")


class _Weighed(NodeTransformer):
    """Puts a weighing filter around values that Jinja makes without its environment."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja names it so
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, _JOINED, [], [], None, None, lineno=node.lineno)

    def _literal(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load" or not any(
            node.find_all((nodes.Name, nodes.Filter, nodes.Call, nodes.Getattr, nodes.Getitem))
        ):
            return node  # type: ignore[no-any-return]
        return nodes.Filter(node, _MADE, [], [], None, None, lineno=node.lineno)

    visit_List = visit_Dict = visit_Tuple = _literal  # noqa: N815


def _size(left: Any, operator: str, right: Any) -> int:
    """Return how long the text or list, or how many bits the whole number, becomes at most."""
    whole = [isinstance(side, int) for side in (left, right)]
    if all(whole):
        bits = left.bit_length()
        return int(bits * max(right, 0) if operator == "**" else bits + right.bit_length())
    if operator == "*" and any(whole):
        times, items = (left, right) if whole[0] else (right, left)
        return int(max(times, 0) * len(items)) if hasattr(items, "__len__") else 0
    return 0
