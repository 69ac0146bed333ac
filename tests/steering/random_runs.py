"""Random runs that are steered: a tree, what its target does, and what is asked at which event.

All of it comes from one seed, so that a run that went wrong can be made again; only the threads
differ from one time to the next.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.events import SteeringRequest
from tests.steering.scripted_target import Play

SEQUENTIAL, PARALLEL = TaskExecutionType.SEQUENTIAL, TaskExecutionType.PARALLEL
_ENDS: Final = ["ok"] * 5 + ["bad"] * 2 + ["broken"] * 2 + ["refused", "silent"]
_LASTS: Final = ["now"] * 3 + ["soon"] * 2 + ["long"]
_KINDS: Final = ("mid-pst/beam", "mid-pss/subarray", "mid-cbf/subarray", "x/y")
_RULES: Final = (None, None, None, "all", "any", {"quorum": 1}, {"quorum": 0.5})
_VERBS: Final = (
    ["retry"] * 4 + ["accept"] * 3 + ["fail"] * 2 + ["skip"] * 4 + ["pause"] * 3 + ["continue"] * 3
)
#: How often a sequence has a clean-up.
_CLEAN_UPS: Final = 0.4
_WHO: Final = ("ann", "bob", "eve")


@dataclass
class RandomRun:
    """One run.

    Attributes:
        seed: Makes all of it.
        plays: By path of a leaf: what the target does with each attempt.
        hold: Whether the whole run holds.
        asked: What is asked at which event, by the number of the event.
        pause_before: The nodes before which the run pauses.
        workers: The threads of the executor.
        kill_at: The event at which the runner is killed; 0: never.
    """

    seed: int
    plays: dict[str, list[Play]] = field(default_factory=dict)
    hold: bool = False
    asked: dict[int, list[SteeringRequest]] = field(default_factory=dict)
    pause_before: tuple[str, ...] = ()
    workers: int = 4
    kill_at: int = 0

    def tree(self) -> Task:
        """Return the tree, made anew."""
        return _Trees(random.Random(self.seed), {}).root()


def random_run(seed: int, *, kills: bool = False) -> RandomRun:
    """Return the run of a seed."""
    run = RandomRun(seed)
    tree = _Trees(random.Random(seed), run.plays).root()
    rng = random.Random(seed + 1)
    run.hold = rng.random() < 0.4
    run.workers = rng.choice((1, 2, 4))
    paths = [path for path, _ in tree.walk()]
    for number in range(rng.randrange(8)):
        at = rng.randint(1, 8 + 6 * len(run.plays))
        request = _request(rng, f"q{seed}-{number}", paths)
        run.asked.setdefault(at, []).extend([request] * rng.choice((1, 1, 1, 2, 3)))
    if rng.random() < 0.2:
        run.pause_before = (rng.choice([path for path in paths if "/finally" not in path]),)
    if kills:
        run.kill_at = rng.randint(len(paths) + 1, len(paths) + 4 + 8 * len(run.plays))
    return run


def _request(rng: random.Random, request_id: str, paths: list[str]) -> SteeringRequest:
    who, why = rng.choice(_WHO), rng.choice(("", "because"))
    if rng.random() < 0.12:
        stop = rng.random() < 0.3
        return SteeringRequest(id=request_id, verb="abort", who=who, why=why, stop_finally=stop)
    verb, path = rng.choice(_VERBS), rng.choice(paths)
    kind = rng.random()
    if verb == "continue" or (verb == "pause" and kind < 0.7):
        path = ""
    elif kind < 0.1:
        path += "/nowhere"
    elif kind < 0.3:
        path = f"{path.rpartition('/')[0] or path}/**"
    elif kind < 0.4:
        path = "**/*_1"
    first = verb == "retry" and rng.random() < 0.3
    return SteeringRequest(id=request_id, verb=verb, path=path, who=who, why=why, abort_first=first)


class _Trees:
    def __init__(self, rng: random.Random, plays: dict[str, list[Play]]) -> None:
        self._rng, self._plays = rng, plays
        self._left = rng.randint(2, 10)

    def root(self) -> Task:
        return self._composite("root", "root", 0, clean_up=False)

    def _composite(self, name: str, path: str, depth: int, *, clean_up: bool) -> Task:
        rng = self._rng
        kind = rng.choice((SEQUENTIAL, SEQUENTIAL, PARALLEL))
        children: list[BaseTask] = []
        for number in range(rng.randint(1, 4)):
            if children and self._left <= 0:
                break
            deeper = depth < 3 and rng.random() < 0.35
            child = f"{'g' if deeper else 'l'}_{number}"
            if deeper:
                child += rng.choice(("", "", "_pst"))
            below = f"{path}/{child}"
            if deeper:
                children.append(self._composite(child, below, depth + 1, clean_up=clean_up))
            else:
                children.append(self._leaf(child, below, clean_up=clean_up))
        last: list[BaseTask] = []
        if kind is SEQUENTIAL and rng.random() < _CLEAN_UPS and not clean_up:
            for number in range(rng.randint(1, 2)):
                last.append(self._leaf(f"e_{number}", f"{path}/finally/e_{number}", clean_up=True))
        return Task(
            name,
            kind,
            rng.random() < 0.5,
            subtasks=children,
            rule=rng.choice(_RULES),
            hold=rng.choice((None, None, None, "on_failure", "never")),
            finally_tasks=last,
        )

    def _leaf(self, name: str, path: str, *, clean_up: bool) -> LeafTask:
        rng = self._rng
        self._left -= 1
        if clean_up:
            play = Play(rng.choice(("ok", "ok", "bad")), rng.choice(("now", "soon")))
            self._plays[path] = [play]
            return LeafTask(name, "x/y/end", "End")
        plays = []
        for _ in range(rng.randint(1, 4)):
            heeds = rng.random() < 0.95
            plays.append(Play(rng.choice(_ENDS), rng.choice(_LASTS), heeds))
        self._plays[path] = plays
        retries = rng.choice((0, 0, 1, 2))
        return LeafTask(
            name,
            f"{rng.choice(_KINDS)}/{rng.randint(1, 3):02}",
            "Configure",
            retries=retries,
            retry_delay=rng.choice((0.0, 0.0, 0.002)),
            hold=rng.choice((None, None, None, "on_failure", "never")),
            hold_timeout=rng.choice((None, None, None, 0.01)),
        )
