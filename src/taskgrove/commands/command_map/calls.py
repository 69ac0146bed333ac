"""The calls among the commands of a map: known commands, no cycle, not too much."""

from __future__ import annotations

from typing import Final, NamedTuple

from taskgrove.commands.command_map.map_models import FINALLY_KEY
from taskgrove.commands.command_map.nodes import Node
from taskgrove.commands.command_map.problems import Mark, Problems, shown

#: The most tasks that a command may have with those of the commands that it calls.
MAX_CALLED_TASKS: Final = 100_000
#: The most levels of calls.
MAX_CALL_LEVELS: Final = 32

#: A longer cycle is told by its first and last calls.
_TOLD_CALLS: Final = 10


class _Call(NamedTuple):
    """An entry that calls a command."""

    caller: str
    command: str
    path: str
    mark: Mark

    def __str__(self) -> str:
        line = "" if self.mark.line is None else f" in line {self.mark.line}"
        return f"{shown(self.caller)} calls {shown(self.command)}{line}"


class CallCheck:
    """Collects the calls of a map, and adds their problems to ``problems``."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._calls: dict[str, list[_Call]] = {}
        #: The tasks of each command, with those of called ones, and its levels of calls.
        self._sizes: dict[str, tuple[int, int]] = {}

    def add(self, caller: str, command: str, path: str, mark: Mark) -> None:
        """Add the call that stands at ``path``."""
        self._calls.setdefault(caller, []).append(_Call(caller, command, path, mark))

    def check(self, commands: Node) -> None:
        """Check all calls; the keys of ``commands`` are the commands."""
        known = tuple(commands.value)
        for call in (call for calls in self._calls.values() for call in calls):
            if call.command not in commands.value:
                self._problems.add_unknown("command", call.command, call.path, call.mark, known)
        # Each command after those that it calls.
        order: dict[str, None] = {}
        sound = True
        for name in commands.value:
            sound = (name in order or self._follow(name, order)) and sound
        if sound:
            for name in order:
                self._measure(name, commands)

    def _follow(self, name: str, order: dict[str, None]) -> bool:
        """Put a command behind all that it calls, without recursion; False: one calls itself."""
        sound = True
        way: list[_Call] = []
        on_way = {name: 0}
        calls = [iter(self._calls.get(name, ()))]
        while calls:
            call = next(calls[-1], None)
            if call is None:
                calls.pop()
                order[on_way.popitem()[0]] = None
                del way[-1:]
            elif call.command in on_way:
                sound = False
                self._tell_cycle([*way[on_way[call.command] :], call])
            elif call.command not in order:
                way.append(call)
                on_way[call.command] = len(way)
                calls.append(iter(self._calls.get(call.command, ())))
        return sound

    def _tell_cycle(self, cycle: list[_Call]) -> None:
        last = cycle[-1]
        steps = [str(call) for call in cycle]
        if len(steps) > _TOLD_CALLS:
            steps[_TOLD_CALLS // 2 : -_TOLD_CALLS // 2] = ["…"]
        chain = ", ".join(steps)
        self._problems.add(
            f"a command cannot call itself, and here it does: {chain}",
            last.path,
            last.mark,
            found=last.command,
        )

    def _measure(self, name: str, commands: Node) -> None:
        calls = self._calls.get(name, [])
        below = [self._sizes.get(call.command, (0, 0)) for call in calls]
        own = commands.value.get(name)
        tasks = (0 if own is None else _count(own)) + sum(size for size, _ in below)
        levels = max((level + 1 for _, level in below), default=0)
        said = ""
        if tasks > MAX_CALLED_TASKS:
            said = f"{shown(name)} has {tasks:,} tasks with those of the commands that it calls"
            allowed = f"at most {MAX_CALLED_TASKS:,}"
        elif levels > MAX_CALL_LEVELS:
            said = f"the calls of {shown(name)} are {levels} levels deep"
            allowed = f"at most {MAX_CALL_LEVELS} levels"
        if said and calls:
            self._problems.add(said, calls[0].path, calls[0].mark, allowed=[allowed])
            tasks = levels = 0  # told once
        self._sizes[name] = (tasks, levels)


def _count(command: Node) -> int:
    """Return how many entries are below a command."""
    count = 0
    todo = [command]
    while todo:
        node = todo.pop()
        for key in ("tasks", FINALLY_KEY):
            below = node.value.get(key) if node.kind == "mapping" else None
            if below is not None and below.kind == "mapping":
                count += len(below.value)
                todo.extend(below.value.values())
    return count
