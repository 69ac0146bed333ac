"""The environment in which templates are filled: Jinja's sandbox, which also comes to an end.

The sandbox keeps a template from code, but not from loops within loops or numbers without end;
and a template is filled before its program starts, when no limit of an analysis holds yet.
Imported only where there is a template: Jinja2 belongs to an extra.
"""

from __future__ import annotations

from typing import Any, Final

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: How often all loops and macros of a template may go round.
MAX_TURNS: Final = 1_000_000
#: Longest text or list that ``*`` makes, and most bits of a number that ``*`` and ``**`` make.
MAX_PRODUCT: Final = 1 << 20
#: No template can name it.
_COUNTER: Final = "taskgrove: one turn"
_REPEATED: Final = (nodes.For, nodes.Macro, nodes.CallBlock)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox for filling one template, once."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turns = 0

        @pass_context  # else a constant argument would be worked out at once
        def count(_: Context, _nothing: None) -> None:
            self._turns += 1
            if self._turns > MAX_TURNS:
                raise SecurityError(f"its loops go round more than {MAX_TURNS:,} times")

        self.filters[_COUNTER] = count

    def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
        for node in source.find_all(_REPEATED):
            turn = nodes.Filter(nodes.Const(None), _COUNTER, [], [], None, None)
            assert isinstance(node, _REPEATED)
            node.body.insert(0, nodes.ExprStmt(turn).set_lineno(node.lineno))
        return super()._generate(source, *args, **options)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Work out a product or a power that does not become too large."""
        if _size(left, operator, right) > MAX_PRODUCT:
            raise SecurityError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


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
