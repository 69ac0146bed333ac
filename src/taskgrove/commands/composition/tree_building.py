"""The composites of a tree: those of the map, called commands, clean-ups.

Threads: a :class:`TreeBuilder` belongs to the thread that composes. Trees may be hundreds of levels
deep: nothing recurses.
"""

from __future__ import annotations

from collections.abc import Mapping
from logging import Logger
from typing import Final, NamedTuple

from taskgrove.commands.base_task import NO_PLACES
from taskgrove.commands.command_map import (
    AllowedStates,
    CallEntry,
    CommandMap,
    CompositeEntry,
    Entry,
)
from taskgrove.commands.command_map.map_models import FINALLY_KEY, KEYWORDS
from taskgrove.commands.composition.branches import tasks_with_leaves
from taskgrove.commands.composition.context import ManagerView
from taskgrove.commands.composition.leaf_making import LeafMaker, Spot
from taskgrove.commands.composition.names import Names
from taskgrove.commands.composition.omissions import Omissions
from taskgrove.commands.composition.refused import refused_command
from taskgrove.commands.task import (
    FINALLY_TIMEOUT_S,
    BaseTask,
    Task,
    TaskExecutionType,
    finally_of,
)

_GUARD_OF_A_CALL: Final = (
    "states are read before anything is started; 'allowed_states' beside 'call' is checked in"
    " place of the command's own, and null checks nothing"
)


class _Open(NamedTuple):
    """A composite whose children are still to be composed.

    Attributes:
        task: The composite.
        tasks: The entries of its children, by name.
        guard: The guard of the devices below it that have no own.
        names: Where the map defines it, by names from the command on.
        finally_tasks: The entries of its clean-up.
        finally_timeout: The limit of the clean-up, in seconds, or None.
    """

    task: Task
    tasks: Mapping[str, Entry]
    guard: AllowedStates | None
    names: tuple[str, ...]
    finally_tasks: Mapping[str, Entry] = {}
    finally_timeout: float | None = None

    @classmethod
    def of(
        cls, task: Task, entry: CompositeEntry, guard: AllowedStates | None, names: tuple[str, ...]
    ) -> _Open:
        """Return the composite of an entry."""
        return cls(task, entry.tasks, guard, names, entry.finally_tasks, entry.finally_timeout)

    @property
    def command(self) -> str:
        """The command of the map that it belongs to."""
        return self.names[0]


class TreeBuilder:
    """Builds the tree of one command.

    Args:
        name: The command.
        command_map: The map.
        view: The context.
        leaves: Makes the leaves.
        omissions: Takes the notes.
        logger: A logger for the trackers; None takes the module's.
        own_names: Whether an entry gives its own name to its leaf, or to its group.
    """

    def __init__(
        self,
        name: str,
        command_map: CommandMap,
        view: ManagerView,
        leaves: LeafMaker,
        omissions: Omissions,
        *,
        logger: Logger | None,
        own_names: bool,
    ) -> None:
        self._own_names = own_names
        self._name = name
        self._map = command_map
        self._view = view
        self._leaves = leaves
        self._out = omissions
        self._logger = logger
        self._obs_mode = leaves.obs_mode

    def build(self) -> Task:
        """Return the tree, with its empty branches.

        Raises:
            CommandError: A called command is not allowed, or a leaf cannot be made.
        """
        entry, names = self._map.command(self._name), (self._name,)
        root = self._composite(self._name, entry, names)
        still_open = [_Open.of(root, entry, entry.allowed_states, names)]
        while still_open:
            clean_ups = self._fill(still_open)
            filled = tasks_with_leaves(root) if clean_ups else set()
            for task, clean_up in clean_ups:
                if task in filled:  # else there is nothing to clean up
                    task.add(clean_up.task)
                    still_open.append(clean_up)
        return root

    def _fill(self, still_open: list[_Open]) -> list[tuple[Task, _Open]]:
        """Compose all that is open, but for the clean-ups, which are returned."""
        clean_ups: list[tuple[Task, _Open]] = []
        while still_open:
            place = still_open.pop()
            names = Names()
            if place.finally_tasks:
                names.unique(FINALLY_KEY)  # no step takes it
                clean_ups.append((place.task, self._clean_up(place)))
            children: list[BaseTask] = []
            for name, entry in place.tasks.items():
                where = (*place.names, name)
                if isinstance(entry, (CompositeEntry, CallEntry)):
                    child = self._nested(names.unique(name), entry, place, where)
                    children.append(child.task)
                    still_open.append(child)
                else:
                    places = self._map.entry_places.get(where, NO_PLACES)
                    guard = entry.allowed_states or place.guard
                    own = name if self._own_names and name not in KEYWORDS else ""
                    spot = Spot(place.command, place.task.path, guard, names, places, own)
                    children.extend(self._leaves.made(entry, spot))
            place.task.add(*children)
        return clean_ups

    def _composite(
        self,
        name: str,
        entry: CompositeEntry,
        names: tuple[str, ...],
        call: CallEntry | None = None,
    ) -> Task:
        """Return the task of a composite, still without children.

        Args:
            name: Its name.
            entry: Its entry; of a call, that of the called command.
            names: Where the map defines ``entry``.
            call: The entry of the call, if it is one.
        """
        told = (call, entry) if call is not None else (entry,)
        task = Task(
            name,
            TaskExecutionType(entry.type),
            entry.skip_subtasks,
            logger=self._logger,
            rule=entry.rule,
            timeout=entry.timeout,
            operation=names[0],
            obs_mode=self._obs_mode,
            description=next((it.description for it in told if it.description), ""),
            hold=next((it.hold for it in told if it.hold is not None), None),
            hold_timeout=next(
                (it.hold_timeout for it in told if it.hold_timeout is not None), None
            ),
        )
        task.places = self._map.entry_places.get(names, NO_PLACES)
        return task

    def _clean_up(self, place: _Open) -> _Open:
        """Return the clean-up of a composite, still without children."""
        limit = place.finally_timeout or FINALLY_TIMEOUT_S
        task = finally_of((), limit, self._logger)
        where = (*place.names, FINALLY_KEY)
        task.places = self._map.entry_places.get(where, NO_PLACES)
        task.operation, task.obs_mode = place.command, self._obs_mode
        return _Open(task, place.finally_tasks, place.guard, where)

    def _nested(
        self, name: str, entry: CompositeEntry | CallEntry, place: _Open, names: tuple[str, ...]
    ) -> _Open:
        """Return a composite below another one: of its own entry, or a called command."""
        if isinstance(entry, CompositeEntry):
            guard = entry.allowed_states or place.guard
            return _Open.of(self._composite(name, entry, names), entry, guard, names)
        called = self._map.command(entry.call)
        given = "allowed_states" in entry.model_fields_set
        own = entry.allowed_states if given else called.allowed_states
        path = f"{place.task.path}/{name}"
        objection, unchecked = self._view.own_guard(own)
        if objection is not None:
            raise refused_command(
                self._name,
                f"{path} is not allowed",
                [str(objection)],
                path=path,
                hint=_GUARD_OF_A_CALL,
            )
        self._out.note(path, unchecked)
        task = self._composite(name, called, (entry.call,), call=entry)
        task.call = entry.call
        task.places = task.places._replace(own=self._map.entry_places.get(names, NO_PLACES).own)
        guard = own if given else own or place.guard
        return _Open.of(task, called, guard, (entry.call,))
