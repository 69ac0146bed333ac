"""Requests on a live run: who asks for what, when, why, and the answer.

::

    from taskgrove import steering
    from taskgrove.store import RecordDesk, Store

    with Store.open() as store:
        desk = RecordDesk(store)
        answer = steering.retry(desk, "last", "observe/scan", why="the receiver was restarted")
        print(answer.fate, answer.paths)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.events.new_request import new_request as new_request
    from taskgrove.events.steering_request import SteeringAnswer as SteeringAnswer
    from taskgrove.events.steering_request import SteeringObjection as SteeringObjection
    from taskgrove.events.steering_request import SteeringRequest as SteeringRequest
    from taskgrove.steering.asking import Desk as Desk
    from taskgrove.steering.asking import abort as abort
    from taskgrove.steering.asking import accept as accept
    from taskgrove.steering.asking import continue_run as continue_run
    from taskgrove.steering.asking import fail as fail
    from taskgrove.steering.asking import pause as pause
    from taskgrove.steering.asking import retry as retry
    from taskgrove.steering.asking import skip as skip

_LATER = {
    "Desk": "taskgrove.steering.asking",
    "SteeringAnswer": "taskgrove.events.steering_request",
    "SteeringObjection": "taskgrove.events.steering_request",
    "SteeringRequest": "taskgrove.events.steering_request",
    "abort": "taskgrove.steering.asking",
    "accept": "taskgrove.steering.asking",
    "continue_run": "taskgrove.steering.asking",
    "fail": "taskgrove.steering.asking",
    "new_request": "taskgrove.events.new_request",
    "pause": "taskgrove.steering.asking",
    "retry": "taskgrove.steering.asking",
    "skip": "taskgrove.steering.asking",
}

__getattr__, __dir__ = lazy_exports(globals(), _LATER)
