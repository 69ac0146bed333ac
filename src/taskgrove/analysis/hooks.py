"""Hooks: functions that are called at the moments of an analysis' life.

Hooks belong to one executor. A hook that raises is logged, and a hook that hangs is abandoned:
neither changes the end of the analysis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TypeAlias

from taskgrove.analysis.running.analysis_events import KINDS, AnalysisEvent, Callback
from taskgrove.errors import UsageError, did_you_mean

Hook: TypeAlias = Callback


class Hooks:
    """A set of hooks by moment.

    Args:
        given: Functions, or several of them, by the name of the moment: ``started``, ``progress``,
            ``log``, ``result``, ``failed``, ``stopped``, ``resumed``, ``cancelled``, ``done``.

    Raises:
        UsageError: There is no such moment, or a hook cannot be called.
    """

    def __init__(self, given: Mapping[str, Hook | Iterable[Hook]] | None = None) -> None:
        self._hooks: dict[str, tuple[Hook, ...]] = {}
        for name, hooks in (given or {}).items():
            for hook in (hooks,) if callable(hooks) else tuple(hooks):
                self.add(name, hook)

    def add(self, name: str, hook: Hook) -> None:
        """Have ``hook`` called with each event of a kind, after those that were added before.

        Raises:
            UsageError: There is no such moment, or the hook cannot be called.
        """
        if name not in KINDS:
            hint = did_you_mean(name, KINDS, f"there are: {', '.join(KINDS)}")
            raise UsageError(f"there is no hook {name!r}", hint=hint)
        if not callable(hook):
            raise UsageError(f"the hook {hook!r} for {name!r} cannot be called")
        self._hooks[name] = (*self._hooks.get(name, ()), hook)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hooks) and other._hooks == self._hooks

    __hash__ = None  # type: ignore[assignment] # hooks may be added

    def callbacks(self) -> tuple[Callback, ...]:
        """Return one callback for each hook, which hears its own kind of event only."""
        return tuple(
            partial(_hear, name, hook) for name, hooks in self._hooks.items() for hook in hooks
        )


def _hear(name: str, hook: Hook, event: AnalysisEvent) -> None:
    if event.kind == name:
        hook(event)


#: The argument ``hooks`` of :class:`~taskgrove.analysis.executor.AnalysisExecutor`.
HooksLike: TypeAlias = Hooks | Mapping[str, Hook | Iterable[Hook]]


def hooks_of(given: HooksLike | None) -> Hooks:
    """Return hooks of either form as :class:`Hooks`."""
    return given if isinstance(given, Hooks) else Hooks(given)
