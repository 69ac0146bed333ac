"""A runner is killed while several operators ask: the record says what they were told."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import steering as bench
from taskgrove import steering
from taskgrove.events import SteeringAnswer
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.store import History, RecordDesk, Store
from taskgrove.store.recording.request_rows import request_of
from tests.store.recording import PATIENCE_S, new_recorder

STEPS = 12
ASKS: tuple[Callable[..., SteeringAnswer], ...] = (steering.retry, steering.accept, steering.fail)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 6))]
)  # the others kill at other moments
def test_what_operators_were_told_is_what_the_record_says(
    record_url: str, tmp_path: Path, seed: int
) -> None:
    told: list[SteeringAnswer] = []
    enough = threading.Event()
    after = random.Random(seed).randrange(1, 2 * STEPS)

    def ask(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        while True:
            path = f"root/group/scan-{chance.randrange(STEPS)}"
            answer = chance.choice(ASKS)(desk, bench.RUN, path, wait_s=None)
            told.append(answer)
            if len(told) >= after:
                enough.set()
            if answer.objections and answer.objections[0].reason == "runner_lost":
                return

    with Store.open(record_url) as store:
        with bench.runner(record_url, tmp_path, STEPS) as process:
            desk = RecordDesk(store)
            threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            assert enough.wait(PATIENCE_S)
            process.kill()
            process.wait(PATIENCE_S)
            for thread in threads:
                thread.join(PATIENCE_S)
                assert not thread.is_alive()
        assert [run.run_id for run in find_lost(store)] == [bench.RUN]
        with new_recorder(store, tmp_path) as recorder:
            recover(store, bench.RUN, recorder=recorder)
        history = History(store)
        rows = history.requests(bench.RUN)
        took_effect = {request_of(event) for event in history.events(bench.RUN)}
    answered = {row.request.id: row.answer for row in rows}
    for request_id, answer in answered.items():
        assert answer is not None
        assert (answer.fate == "done") is (request_id in took_effect)
    for answer in told:
        kept = answered.get(answer.request_id)
        # A request that came when the runner was gone is not on record.
        assert answer.fate == ("too_late" if kept is None else kept.fate)
