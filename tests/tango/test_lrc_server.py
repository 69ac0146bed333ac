"""The mixin, on a device class of a facility's own, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import tango

import taskgrove
from taskgrove.tango.lrc_server import long_running_command
from taskgrove.tango.simulation.server import reserve_port
from tests.tango.bare_client import GUARD_S, EventLog, invoke, wait_status, wait_up

pytestmark = pytest.mark.tango

SERVER = '''
import os
from tango.server import Device, attribute, command, run
from taskgrove.control_model import ResultCode
from taskgrove.tango.lrc_server import LrcAbortedError, LrcServerMixin, long_running_command

def number(device, argin):
    return None if 0 < argin < 1000 else f"{argin} \u2126 is no position"

class Motor(LrcServerMixin, Device):
    """A motor of somebody's own."""

    lrc_max_queued = 4

    def init_device(self):
        self.ready = True
        self.log = []
        super().init_device()

    @attribute(dtype=bool)
    def isReady(self):
        return self.ready

    @long_running_command(dtype_in=int, validate=number, doc_in="where to")
    def MoveTo(self, argin, task_callback, task_abort_event):
        """Move the motor."""
        for step in range(4):
            if task_abort_event.wait(0.02):
                raise LrcAbortedError
            task_callback(progress=25 * step)
        return ResultCode.OK, f"moved to {argin} \u2192 \U0001f52d"

    @long_running_command(is_allowed=lambda device: device.ready)
    def Home(self, task_callback, task_abort_event):
        self.ready = False

    @long_running_command()
    def Wait(self, task_callback, task_abort_event):
        task_abort_event.wait()
        raise LrcAbortedError

    @command(dtype_out=int)
    def Pid(self):
        return os.getpid()

    @command(dtype_out=(str,))
    def Log(self):
        return self.log

    def lrc_aborting(self):
        self.log.append("aborting")

    def lrc_aborted(self):
        self.log.append("aborted")

run([Motor])
'''


@pytest.fixture(scope="module")
def motor(tmp_path_factory):
    script = tmp_path_factory.mktemp("server") / "motor.py"
    script.write_text(SERVER, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(taskgrove.__file__).parents[1])}
    with reserve_port("127.0.0.1") as reserved:
        port = reserved.getsockname()[1]
        arguments = ["test", "-nodb", "-dlist", "lab/motor/1"]
        endpoint = ["-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
        with subprocess.Popen(
            [sys.executable, "-P", str(script), *arguments, *endpoint],
            env=environment,
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                log = log_when_up(f"tango://127.0.0.1:{port}/lab/motor/1#dbase=no")
                assert log.proxy.command_inout("Pid") == process.pid
                yield log
                log.close()
                process.send_signal(signal.SIGTERM)
                assert process.wait(GUARD_S) == 0
            finally:
                process.kill()


def log_when_up(trl: str) -> EventLog:
    wait_up(tango.DeviceProxy(trl))
    return EventLog(trl, "_lrcEvent")


def test_a_declared_command_is_a_tango_command_with_the_protocol_s_types(motor):
    declared = motor.proxy.command_query("MoveTo")
    assert declared.in_type == tango.CmdArgType.DevLong64
    assert declared.out_type == tango.CmdArgType.DevVarLongStringArray
    assert declared.in_type_desc == "where to"
    assert motor.proxy.command_query("Home").in_type == tango.CmdArgType.DevVoid
    assert motor.proxy.get_attribute_config("isReady").data_type == tango.CmdArgType.DevBoolean


def test_it_runs_reports_and_ends(motor):
    code, uid = invoke(motor.proxy, "MoveTo", 7)
    assert (code, uid.split("_")[-1]) == (2, "MoveTo")
    assert motor.wait_final(uid) == {"status": 5, "result": [0, "moved to 7 \u2192 \U0001f52d"]}
    assert motor.statuses(uid) == [0, 1, 2, 5]
    assert {"progress": 75} in motor.changes(uid)


def test_text_that_is_not_latin_1_is_told(motor):
    _, uid = invoke(motor.proxy, "MoveTo", 8)
    told = [0, "moved to 8 \u2192 \U0001f52d"]
    assert motor.wait_final(uid)["result"] == told
    finished = [json.loads(text) for text in motor.proxy.lrcFinished]
    assert [entry["result"] for entry in finished if entry["uid"] == uid] == [told]
    last_uid, last_result = motor.proxy.longRunningCommandResult
    assert (last_uid, json.loads(last_result)) == (uid, told)


def test_validation_refuses_before_anything_is_queued(motor):
    assert invoke(motor.proxy, "MoveTo", 5000) == (5, "5000 \\u2126 is no position")


def test_a_guard_is_asked_when_the_turn_comes(motor):
    _, first = invoke(motor.proxy, "Home", None)
    _, second = invoke(motor.proxy, "Home", None)  # allowed now, not any more then
    assert motor.wait_final(first)["result"] == [0, "Home completed OK"]
    assert motor.proxy.isReady is False
    assert motor.wait_final(second) == {"status": 6, "result": [6, "Command is not allowed"]}


def test_the_queue_has_the_length_that_the_class_says_and_abort_ends_it_all(motor):
    _, running = invoke(motor.proxy, "Wait", None)
    wait_status(motor.proxy, running, "IN_PROGRESS")
    replies = [invoke(motor.proxy, "Wait", None) for _ in range(5)]
    assert [code for code, _ in replies] == [2, 2, 2, 2, 5]
    executing = [json.loads(text) for text in motor.proxy.lrcExecuting]
    assert [entry["uid"] for entry in executing] == [running]
    code, abort = invoke(motor.proxy, "Abort", None)
    assert code == 1
    assert motor.wait_final(abort)["status"] == 5
    assert motor.wait_final(running)["status"] == 3
    assert list(motor.proxy.command_inout("Log"))[-2:] == ["aborting", "aborted"]


def test_many_clients_at_once_wait_for_nobody(motor):
    """A lock held while events are sent would stall each call for three seconds."""
    errors: list[Exception] = []

    uids: list[str] = []

    def call() -> None:
        try:
            for _ in range(10):
                code, uid = invoke(motor.proxy, "MoveTo", 3)
                if code == 2:
                    uids.append(uid)
                motor.proxy.read_attribute("longRunningCommandStatus")
        except tango.DevFailed as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for uid in uids:
        assert motor.wait_final(uid)["status"] == 5
        assert motor.statuses(uid) == [0, 1, 2, 5]


def test_init_leaves_no_thread_behind(motor):
    server = psutil.Process(motor.proxy.command_inout("Pid"))
    motor.proxy.Init()
    threads = server.num_threads()
    for _ in range(10):
        motor.proxy.Init()
    # The ORB starts a thread of its own now and then; one for each Init would be ten.
    assert server.num_threads() < threads + 5


def test_a_name_with_an_underscore_is_refused():
    with pytest.raises(ValueError, match="no underscore"):

        @long_running_command()
        def move_to(self, task_callback, task_abort_event):
            """Never declared."""
