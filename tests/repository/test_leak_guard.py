"""The leak guard itself: what it blames, what it spares."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LEAKY = """
import socket, subprocess, sys, threading
import pytest

never = threading.Event()
kept = []

def hang(name):
    thread = threading.Thread(target=never.wait, args=(60,), name=name, daemon=True)
    thread.start()
    return thread

def child():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    kept.append(process)
    return process

@pytest.fixture(scope="session", autouse=True)
def end_all():
    yield
    never.set()
    for thing in kept:
        if isinstance(thing, subprocess.Popen):
            thing.kill()
            thing.wait()
        else:
            thing.close()

@pytest.fixture
def own_thread():
    hang("made-by-its-own-fixture")

@pytest.fixture
def tidy_thread():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()

@pytest.fixture(scope="module")
def wide():
    hang("made-by-a-module-fixture")
    child()
    kept.append(socket.socket())

@pytest.fixture(scope="module")
def late():
    hang("made-by-a-fixture-asked-for-late")

def test_leaks_thread():
    hang("left-behind")

def test_leaks_process():
    child()

def test_leaks_socket():
    kept.append(socket.socket())

def test_leaks_listener():
    listener = socket.create_server(("127.0.0.1", 0))
    kept.append(listener)

def test_leaks_through_fixture(own_thread):
    pass

def test_clean_pairs(tidy_thread):
    subprocess.run([sys.executable, "-c", ""], check=True)
    socket.socket().close()

def test_clean_after_a_moment():
    threading.Timer(0.1, int).start()

def test_clean_in_wider_fixture(wide):
    pass

def test_clean_in_late_fixture(request):
    request.getfixturevalue("late")

@pytest.mark.leaks("the thread is the subject")
def test_clean_marked():
    hang("exempt")

@pytest.mark.leaks
def test_leaks_marked_without_reason():
    pass

def test_fails_for_its_own_reason():
    hang("not-the-point")
    assert False, "the reason"

def test_clean_dummy_thread():
    import _thread
    seen = threading.Event()
    def foreign():
        threading.current_thread()  # as a callback of a native thread does
        seen.set()
        never.wait(60)
    _thread.start_new_thread(foreign, ())
    assert seen.wait(10)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Return how each test of LEAKY ended, and what was said about it."""
    folder = tmp_path_factory.mktemp("leaky")
    (folder / "test_leaky.py").write_text(LEAKY)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.leak_guard", "-p", "no:randomly"),
            *("-p", "no:asyncio", "-p", "no:cacheprovider", "--junitxml=report.xml", "-q"),
            "--leak-settle-s=1.0",
        ],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    ended = {}
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        problems = [part for part in case if part.tag in ("failure", "error")]
        text = "\n".join(f"{part.get('message')}\n{part.text}" for part in problems)
        ended[case.get("name", "")] = ("+".join(part.tag for part in problems) or "passed", text)
    assert ended, done.stdout + done.stderr
    return ended


@pytest.mark.parametrize(
    ("test", "named"),
    [
        ("test_leaks_thread", "daemon thread 'left-behind'"),
        ("test_leaks_process", "time.sleep(60)"),
        ("test_leaks_socket", "socket <socket.socket"),
        ("test_leaks_listener", "listening on 127.0.0.1:"),
        ("test_leaks_through_fixture", "'made-by-its-own-fixture'"),
        ("test_leaks_marked_without_reason", "needs a reason"),
    ],
)
def test_a_leak_is_blamed_on_the_test_that_made_it(
    told: dict[str, tuple[str, str]], test: str, named: str
) -> None:
    outcome, text = told[test]
    assert outcome == "error"
    assert named in text


def test_a_leak_is_blamed_once(told: dict[str, tuple[str, str]]) -> None:
    blamed = [name for name, (_, text) in told.items() if "left-behind" in text]
    assert blamed == ["test_leaks_thread"]


@pytest.mark.parametrize(
    "test",
    [
        "test_clean_pairs",
        "test_clean_after_a_moment",
        "test_clean_in_wider_fixture",
        "test_clean_in_late_fixture",
        "test_clean_marked",
        "test_clean_dummy_thread",
    ],
)
def test_what_is_tidied_or_exempt_is_not_blamed(
    told: dict[str, tuple[str, str]], test: str
) -> None:
    assert told[test] == ("passed", "")


def test_a_test_that_failed_anyway_keeps_its_own_reason(told: dict[str, tuple[str, str]]) -> None:
    outcome, text = told["test_fails_for_its_own_reason"]
    assert outcome == "failure"
    assert "the reason" in text
    assert "left behind" not in text


def test_no_test_of_the_example_is_forgotten(told: dict[str, tuple[str, str]]) -> None:
    assert len(told) == LEAKY.count("def test_")
