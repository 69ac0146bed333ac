"""The revision of an analysis' code: what git says of it, and what is known without git."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskgrove.analysis.parameters import ThirdPartyParameters
from taskgrove.analysis.running import code_look
from taskgrove.analysis.running.code_look import CodeLook, code_file
from taskgrove.analysis.running.environment import AnalysisEnvironment
from taskgrove.analysis.running.spec import AnalysisSpec
from taskgrove.events.code_revision import CodeRevision
from taskgrove.redaction import Redaction

WHO = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *WHO, "-C", str(folder), *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in which a package and a program lie."""
    folder = tmp_path / "code"
    package = folder / "looked_at" / "inner"
    package.mkdir(parents=True)
    for place in (package.parent, package):
        (place / "__init__.py").write_text("raise RuntimeError('nobody imports it')\n")
    (package / "tasks.py").write_text("")
    (folder / "fit.sh").write_text("#!/bin/sh\n")
    (folder / "fit.sh").chmod(0o755)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(code_look, "_SHARED_S", -1.0)
    return folder


def spec(**fields: Any) -> AnalysisSpec:
    return AnalysisSpec(
        name="A", environment=AnalysisEnvironment(), redaction=Redaction(), **fields
    )


def looked(**fields: Any) -> CodeRevision | None:
    look = CodeLook(spec(**fields))
    look.look()
    return look.result()


TASK = "looked_at.inner.tasks:Fit"


def test_the_code_of_a_class_is_found_without_importing_it(repository: Path) -> None:
    found = looked(task=TASK)
    assert found == CodeRevision(
        str(repository / "looked_at/inner/tasks.py"),
        str(repository),
        git(repository, "rev-parse", "HEAD"),
        False,
    )
    package = code_file(spec(task="looked_at.inner:Fit"))
    assert package == repository / "looked_at/inner/__init__.py"


def test_changes_and_files_that_git_does_not_know_are_dirty(repository: Path) -> None:
    (repository / "looked_at/inner/new.py").write_text("")
    clean = looked(task=TASK)
    assert clean is not None
    assert clean.dirty is False  # a file that is not its own
    new = looked(task="looked_at.inner.new:Fit")
    assert new is not None
    assert new.dirty is True
    (repository / "fit.sh").write_text("#!/bin/sh\nexit 3\n")
    changed = looked(task=TASK)
    assert changed is not None
    assert (changed.dirty, changed.revision) == (True, git(repository, "rev-parse", "HEAD"))


def test_the_code_of_a_program_is_its_file(repository: Path, tmp_path: Path) -> None:
    program = repository / "fit.sh"
    found = looked(parameters=ThirdPartyParameters(executable=str(program)))
    assert found is not None
    assert (found.file, found.dirty) == (str(program), False)
    relative = looked(parameters=ThirdPartyParameters(executable="./fit.sh"), work_dir=repository)
    assert relative == found
    (tmp_path / "link").symlink_to(program)
    assert looked(parameters=ThirdPartyParameters(executable=str(tmp_path / "link"))) == found


def test_code_that_git_ignores_or_that_is_installed_has_no_revision(
    repository: Path,
) -> None:
    (repository / ".gitignore").write_text("build\n")
    for folder in ("build", "lib/site-packages"):
        (repository / folder).mkdir(parents=True)
        program = repository / folder / "fit.sh"
        program.write_text("#!/bin/sh\n")
        assert looked(parameters=ThirdPartyParameters(executable=str(program))) is None


def test_a_look_holds_for_a_moment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_look, "_SHARED_S", 600.0)
    asked: list[object] = []

    def begun() -> CodeRevision | None:
        look = CodeLook(spec(task=TASK))

        def run(function: Callable[[], None]) -> None:
            asked.append(look)
            function()

        look.begin(run)
        return look.result()

    first = begun()
    (repository / "fit.sh").write_text("changed")
    assert begun() == first
    assert len(asked) == 1
    monkeypatch.setattr(code_look, "_shared", {})
    changed = begun()
    assert changed is not None
    assert changed.dirty is True
    assert len(asked) == 2


def test_code_in_no_repository_has_no_revision() -> None:
    assert looked(task="no_such_module:X") is None
    assert looked(parameters=ThirdPartyParameters(executable="/bin/sh")) is None
    assert looked(parameters=ThirdPartyParameters(executable="no-such-program")) is None


def test_without_git_the_commit_is_known_all_the_same(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    worktree = repository.parent / "worktree"
    git(repository, "worktree", "add", "-q", str(worktree))
    monkeypatch.setenv("PATH", "/nonexistent")
    for folder in (repository, worktree):
        found = looked(parameters=ThirdPartyParameters(executable=str(folder / "fit.sh")))
        assert found is not None
        assert (found.root, found.revision, found.dirty) == (str(folder), commit, None)


def test_a_repository_without_a_commit_is_dirty(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "fit.sh").write_text("#!/bin/sh\n")
    found = looked(parameters=ThirdPartyParameters(executable=str(tmp_path / "fit.sh")))
    assert found is not None
    assert (found.revision, found.dirty) == ("", True)


def test_a_git_that_hangs_is_not_waited_for(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "bin/git").chmod(0o755)
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(code_look, "_GIT_LIMIT_S", 0.05)
    found = looked(task=TASK)
    assert found is not None
    assert (found.revision, found.dirty) == (commit, None)
