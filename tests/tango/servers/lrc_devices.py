"""A purpose-made TANGO server for the tests of the long-running-command client.

Three device classes: ``LrcDeviceV0`` (a plain TANGO device), ``LrcDeviceV1`` (status, progress
and result attributes only) and ``LrcDeviceV2`` (``_lrcEvent`` and the ``lrc*`` lists as well).
What a command of these two does is said in its argument, a JSON object (all keys optional)::

    duration        seconds until the end (0.2)
    progress        how many progress events are sent on the way (3)
    status          name of the final status (COMPLETED)
    result          any JSON value, given back as the result ([0, "done"])
    no_result       true: no result at all
    lose_end        true: the end is recorded, its events are not sent
    lose_all        true: no event at all is sent
    burst           number of noise events sent just before the end
    hold_reply_s    seconds for which the command call itself blocks
    early           true: every event is sent before the command call returns
    forget          true: the device loses every trace of the command when it ends
    reply           what the call gives back in place of (QUEUED, id)
    text            the result's text is sent as it is, not as JSON (old devices)

Each execution is told on the standard output, as a line that begins with EXECUTED.
Started as ``python lrc_devices.py INSTANCE CLASS -nodb -dlist a/b/1,... -ORBendPoint ...``.
It shares no code with the package under test.
"""

from __future__ import annotations

import collections
import functools
import heapq
import itertools
import json
import os
import queue
import sys
import threading
import time
import uuid

import tango
from tango.server import Device, attribute, command

NAMES = ["STAGING", "QUEUED", "IN_PROGRESS", "ABORTED", "NOT_FOUND", "COMPLETED", "REJECTED"]
NAMES += ["FAILED"]
FINAL = {"ABORTED", "COMPLETED", "REJECTED", "FAILED"}


class Pusher:
    """One thread that does timed work and sends every event, outside command handlers."""

    def __init__(self):
        self._inbox = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def at(self, due, function, *args):
        self._inbox.put((due, function, args))

    def _run(self):
        heap, order = [], itertools.count()
        with tango.EnsureOmniThread():
            while True:
                wait = max(0.0, heap[0][0] - time.monotonic()) if heap else None
                try:
                    due, function, args = self._inbox.get(timeout=wait)
                    heapq.heappush(heap, (due, next(order), function, args))
                except queue.Empty:
                    pass
                while heap and heap[0][0] <= time.monotonic():
                    _, _, function, args = heapq.heappop(heap)
                    try:
                        function(*args)
                    except Exception as exc:
                        print("pusher:", repr(exc), file=sys.stderr, flush=True)


@functools.cache
def pusher():
    return Pusher()


class LrcDeviceV0(Device):
    """A device that knows nothing of long-running commands, whatever it answers."""

    @command(dtype_out="DevVarLongStringArray")
    def Started(self):
        return [[1], ["Configure started"]]

    @command(dtype_out="DevVarLongStringArray")
    def Queued(self):
        return [[2], ["1_2_Queued"]]

    @command(dtype_in=float)
    def Move(self, seconds):
        print("EXECUTED", flush=True)
        time.sleep(seconds)

    @command(dtype_in=float, dtype_out="DevVarLongStringArray")
    def MoveCoded(self, seconds):
        time.sleep(seconds)
        return [[0], ["moved"]]

    @command(dtype_in=str, dtype_out=str)
    def Echo(self, text):
        return text


class LrcDeviceV1(Device):
    """A device of the first protocol."""

    version = 1

    def init_device(self):
        super().init_device()
        self._lock = threading.Lock()
        self._commands = collections.OrderedDict()
        self._last_result = ["", ""]
        self._executed = 0
        self._aborts = 0
        for name in ("longRunningCommandStatus", "longRunningCommandProgress"):
            self.set_change_event(name, True, False)
        self.set_change_event("longRunningCommandResult", True, False)

    # -- attributes ------------------------------------------------------
    @attribute(dtype=int)
    def pid(self):
        return os.getpid()

    @attribute(dtype=int)
    def executed(self):
        return self._executed

    @attribute(dtype=int)
    def aborts(self):
        return self._aborts

    @attribute(dtype=(str,), max_dim_x=2000)
    def longRunningCommandStatus(self):
        return self._flat("status")

    @attribute(dtype=(str,), max_dim_x=2000)
    def longRunningCommandProgress(self):
        return self._flat("progress")

    @attribute(dtype=(str,), max_dim_x=2)
    def longRunningCommandResult(self):
        return self._last_result

    def _flat(self, key):
        with self._lock:
            pairs = [(uid, c[key]) for uid, c in self._commands.items() if c[key] is not None]
        return [str(item) for pair in pairs[-1000:] for item in pair]

    # -- commands --------------------------------------------------------
    @command(dtype_in=str, dtype_out="DevVarLongStringArray")
    def Configure(self, text):
        return self._accept("Configure", json.loads(text or "{}"))

    @command(dtype_in=str, dtype_out="DevVarLongStringArray")
    def Scan(self, text):
        return self._accept("Scan", json.loads(text or "{}"))

    @command(dtype_out="DevVarLongStringArray")
    def On(self):
        return self._accept("On", {})

    @command(dtype_in=int, dtype_out="DevVarLongStringArray")
    def SetLevel(self, level):
        return self._accept("SetLevel", {"result": [0, f"level {level}"]})

    @command(dtype_in=str, dtype_out="DevVarLongStringArray")
    def Raise(self, text):
        raise ValueError(text)

    @command(dtype_out="DevVarLongStringArray")
    def Full(self):
        tango.Except.throw_exception("LRC_QueueFull", "three commands wait", "Full")

    @command(dtype_in=str, dtype_out="DevVarLongStringArray")
    def Relay(self, other):
        tango.DeviceProxy(other).command_inout("NoSuchCommand")

    @command(dtype_in=str, dtype_out=str)
    def Echo(self, text):
        return text

    @command
    def Plain(self):
        self._executed += 1

    @command(dtype_out="DevVarLongStringArray")
    def Abort(self):
        self._aborts += 1
        uid = self._new("Abort")
        with self._lock:
            open_ids = [u for u, c in self._commands.items() if c["status"] not in FINAL]
        for other in open_ids:
            if other != uid:
                self._later(0.0, self._end, other, {"status": "ABORTED"}, [7, "aborted"])
        self._later(0.01, self._end, uid, {}, [0, "Abort completed OK"])
        return [[1], [uid]]

    @command(dtype_in=str, dtype_out=str)
    def CheckLongRunningCommandStatus(self, uid):
        with self._lock:
            known = self._commands.get(uid)
        return known["status"] if known else "NOT_FOUND"

    # -- the life of a command -------------------------------------------
    def _later(self, delay, function, *args):
        pusher().at(time.monotonic() + delay, function, *args)

    def _new(self, name):
        uid = f"{time.time()}_{uuid.uuid4().fields[-1]}_{name}"
        with self._lock:
            self._commands[uid] = {"status": "STAGING", "progress": None, "result": None}
            while len(self._commands) > 900:
                self._commands.popitem(last=False)
        return uid

    def _accept(self, name, plan):
        if "reply" in plan:
            return plan["reply"]
        self._executed += 1
        print("EXECUTED", name, flush=True)
        uid = self._new(name)
        duration, steps = plan.get("duration", 0.2), plan.get("progress", 3)
        if plan.get("early"):
            duration = 0.0
        if plan.get("lose_all"):
            steps, plan = 0, dict(plan, lose_end=True)
        else:
            self._later(0.0, self._change, uid, "STAGING")
            self._later(0.0, self._change, uid, "QUEUED")
            self._later(0.0, self._change, uid, "IN_PROGRESS")
        for step in range(1, steps + 1):
            share = step / (steps + 1)
            self._later(duration * share, self._move, uid, int(100 * share))
        self._later(duration, self._end, uid, plan, plan.get("result", [0, "done"]))
        if plan.get("early"):
            time.sleep(0.2)
        if plan.get("hold_reply_s"):
            time.sleep(plan["hold_reply_s"])
        return [[2], [uid]]

    def _move(self, uid, percent):
        with self._lock:
            if uid not in self._commands or self._commands[uid]["status"] in FINAL:
                return
            self._commands[uid]["progress"] = percent
        self._send_progress(uid, percent)

    def _change(self, uid, status):
        with self._lock:
            if self._commands[uid]["status"] in FINAL:
                return
            self._commands[uid]["status"] = status
        self._send_status(uid, status)

    def _end(self, uid, plan, result):
        with self._lock:
            if uid not in self._commands or self._commands[uid]["status"] in FINAL:
                return
        for number in range(plan.get("burst", 0)):
            self._send_progress(f"noise_{number}_Noise", number % 100)
        status = plan.get("status", "COMPLETED")
        if plan.get("no_result"):
            result = None
        text = None
        if result is not None:
            text = result if plan.get("text") else json.dumps(result)
        with self._lock:
            self._commands[uid].update(status=status, result=result, text=text)
            if text is not None:
                self._last_result = [uid, text]
        if not plan.get("lose_end"):
            self._send_end(uid, status, result, text)
        if plan.get("forget"):
            with self._lock:
                del self._commands[uid]
                self._last_result = ["", ""]

    # -- events ----------------------------------------------------------
    def _send_progress(self, uid, percent):
        self.push_change_event("longRunningCommandProgress", [uid, str(percent)])

    def _send_status(self, uid, status):
        self.push_change_event("longRunningCommandStatus", self._flat("status"))

    def _send_end(self, uid, status, result, text):
        if text is not None:
            self.push_change_event("longRunningCommandResult", [uid, text])
        self._send_status(uid, status)


class LrcDeviceV2(LrcDeviceV1):
    """A device of the second protocol, which serves the first one's attributes too."""

    version = 2

    def init_device(self):
        super().init_device()
        self.set_change_event("_lrcEvent", True, False)

    @attribute(dtype=(int,), max_dim_x=2)
    def lrcProtocolVersions(self):
        return [1, 2]

    @attribute(dtype=(str,), max_dim_x=2, name="_lrcEvent")
    def lrc_event(self):
        return []

    def _objects(self, wanted):
        with self._lock:
            items = [(u, c) for u, c in self._commands.items() if c["status"] in wanted]
        out = []
        for uid, item in items[-100:]:
            entry = {"uid": uid, "name": uid.split("_")[-1]}
            if item["status"] in FINAL:
                entry["status"] = item["status"]
                if item["result"] is not None:
                    entry["result"] = item["result"]
            elif item["progress"] is not None:
                entry["progress"] = item["progress"]
            out.append(json.dumps(entry))
        return out

    @attribute(dtype=(str,), max_dim_x=100)
    def lrcQueue(self):
        return self._objects({"STAGING", "QUEUED"})

    @attribute(dtype=(str,), max_dim_x=100)
    def lrcExecuting(self):
        return self._objects({"IN_PROGRESS"})

    @attribute(dtype=(str,), max_dim_x=100)
    def lrcFinished(self):
        return self._objects(FINAL)

    def _event(self, uid, **facts):
        self.push_change_event("_lrcEvent", [uid, json.dumps(facts)])

    def _send_progress(self, uid, percent):
        self._event(uid, progress=percent)

    def _send_status(self, uid, status):
        self._event(uid, status=NAMES.index(status))

    def _send_end(self, uid, status, result, text):
        facts = {"status": NAMES.index(status)}
        if result is not None:
            facts["result"] = result
        self._event(uid, **facts)


if __name__ == "__main__":
    chosen = globals()[sys.argv.pop(2)]
    tango.server.run([chosen], args=[sys.argv[0], *sys.argv[1:]])
