"""The page on steering: its two terminals say what it shows, and its verbs and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from taskgrove.cli.app import app
from taskgrove.cli.exit_codes import ExitCode
from tests.cli.command_line import PATIENCE_S, ROOT, environment, read_until, start, taskgrove

PAGE = (ROOT / "docs" / "steering.md").read_text(encoding="utf-8")
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def plain(text: str) -> str:
    """Return output without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "THEN", text)
    return re.sub(r"^ +\d\.\d s  |\d\.\d s", "T ", RUN_ID.sub("RUN", text), flags=re.MULTILINE)


def test_the_two_terminals_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "observe.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "telescope.py").write_text(blocks("python")[0])
    first, second = blocks("console")
    line, _, shown = first.partition("\n")
    # Files of its own, where nothing has to be named.
    env = environment(XDG_DATA_HOME=str(tmp_path / "d"), XDG_STATE_HOME=str(tmp_path / "s"))
    words = shlex.split(line.removeprefix("$ taskgrove "))
    commands = re.findall(r"^\$ taskgrove (.*)\n((?:(?!\$ ).*\n)*)", second, re.MULTILINE)
    assert len(commands) == 3
    with start(*words, cwd=tmp_path, env=env) as process:
        assert plain(read_until(process.stdout, ": held")) == plain(shown)
        for number, (command, answer) in enumerate(commands):
            if number == 2:
                process.communicate(timeout=PATIENCE_S)
            done = taskgrove(*shlex.split(command), cwd=tmp_path, env=env)
            assert plain(done.stdout) == plain(answer), done
            assert done.returncode == (ExitCode.FAILED, ExitCode.OK, ExitCode.TOO_LATE)[number]
    assert process.returncode == 0


def test_the_verbs_the_options_and_the_codes_of_the_page_exist() -> None:
    context = click.Context(app)
    for verb, rest in re.findall(r"taskgrove (\w+)((?: (?:RUN|PATH|--[\w-]+))*)", PAGE):
        command = app.get_command(context, verb)
        assert command is not None, verb
        known = {option for item in command.params for option in item.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= known
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert codes == {0, 1, 2, ExitCode.TOO_LATE, ExitCode.NO_ANSWER}
