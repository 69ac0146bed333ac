"""``taskgrove serve`` as an operator types it: its words, its links, its errors."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.cli.command_line import PATIENCE_S, environment, taskgrove
from tests.cli.terminals import on_a_terminal, see
from tests.web.page_process import ask, cookie_of

LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/enter/[\w-]+")


def test_enter_prints_another_link_and_ctrl_c_ends_the_server(place: Path) -> None:
    with on_a_terminal(place, "serve", "--port", "0", "--db", "new.db") as (process, terminal):
        told = see(terminal, "runs go on.")
        first = LINK.search(told)
        assert first is not None
        port = int(first[1])
        cookie = cookie_of(port, first[0])
        assert ask(port, "/api/runs", cookie=cookie).data["runs"] == []
        os.write(terminal, b"\n")
        more = see(terminal, "/enter/")
        more += see(terminal, "\n") if not more.endswith("\n") else ""
        second = LINK.search(more)
        assert second is not None
        assert second[0] != first[0]
        assert ask(port, "/api/about", cookie=cookie_of(port, second[0])).data["may_act"] is True
        os.write(terminal, b"\x03")
        see(terminal, "The page is closed")
        assert process.wait(PATIENCE_S) == 0
    assert (place / "new.db").exists()


def test_a_port_that_is_taken_is_told(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = taskgrove("serve", "--port", port, "--db", "new.db", cwd=place)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_not_of_this_machine_is_told(place: Path) -> None:
    done = taskgrove("serve", "--host", "192.0.2.7", "--db", "new.db", cwd=place)
    assert done.returncode == 2
    assert "nobody can listen at 192.0.2.7" in done.stderr


def test_a_key_that_cannot_be_kept_is_told(place: Path) -> None:
    (place / "file").write_text("")
    env = environment(XDG_STATE_HOME=str(place / "file"))
    done = taskgrove("serve", "--db", "new.db", cwd=place, env=env)
    assert done.returncode == 2
    assert "the key of the page cannot be kept" in done.stderr


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    program = """
import sys
for name in ("starlette", "uvicorn"):
    sys.modules[name] = None
from click.testing import CliRunner
from taskgrove.cli.app import app
done = CliRunner().invoke(app, ["serve", "--db", "new.db"])
print(done.exit_code, "taskgrove[web]" in done.output, "unexpected" in done.output)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout.split() == ["2", "True", "False"], done.stdout + done.stderr


def test_a_map_that_cannot_be_read_is_told_with_its_line(place: Path) -> None:
    (place / "wrong.yaml").write_text("go:\n  type: sideways\n  tasks: {}\n")
    done = taskgrove("serve", "--map", "wrong.yaml", "--db", "new.db", cwd=place)
    assert done.returncode == 2
    assert "wrong.yaml, line 2" in done.stderr
