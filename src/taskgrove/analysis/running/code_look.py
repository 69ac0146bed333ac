"""Looks in git for the revision of an analysis' code, beside its start.

The commit is read from the files of the repository; git itself is asked only whether files
differ from it. Without git, or where git refuses the folder of somebody else, that is not known.
Nothing is looked for where the code lies in no repository.

Threads: one thread begins a look, one thread of a pool makes it, and any thread may ask for its
result. ``_lock`` guards the revisions that are shared for a moment.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from msgspec.structs import replace

from taskgrove.events.code_revision import CodeRevision

if TYPE_CHECKING:
    from taskgrove.analysis.running.spec import AnalysisSpec

_LOGGER = logging.getLogger(__name__)

#: How long git may take, and how long the end of an analysis waits for it, in seconds.
_GIT_LIMIT_S: Final = 2.0
_WAIT_S: Final = 0.5
#: How long a revision holds for other analyses of the same code, and how long it holds that code
#: is in no repository, in seconds; and how many looks are remembered.
_SHARED_S: Final = 2.0
_NOWHERE_S: Final = 60.0
_MOST_SHARED: Final = 1000
_State: TypeAlias = Literal["clean", "dirty", "ignored", "unknown"]
_DIRTY: Final[dict[str, bool | None]] = {"clean": False, "dirty": True, "unknown": None}
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")

_lock = threading.Lock()
_shared: dict[tuple[str | None, ...], tuple[float, CodeRevision | None]] = {}


class CodeLook:
    """One look at the code of an analysis.

    Args:
        spec: The analysis.
    """

    def __init__(self, spec: AnalysisSpec) -> None:
        self._spec = spec
        self._found: CodeRevision | None = None
        self._done = threading.Event()

    def begin(self, submit: Callable[[Callable[[], None]], object]) -> None:
        """Have the look made on another thread, unless there was one a moment ago.

        Args:
            submit: Runs a function on a thread of a pool.
        """
        with _lock:
            known = _shared.get(self._key)
        if known is not None and time.monotonic() < known[0]:
            self._found = known[1]
            self._done.set()
        else:
            submit(self.look)

    @property
    def _key(self) -> tuple[str | None, ...]:
        spec = self._spec
        program = getattr(spec.parameters, "executable", None) or spec.program
        return spec.task, str(program), str(spec.folder)

    def look(self) -> None:
        """Find the revision; this may take as long as git does."""
        try:
            file = code_file(self._spec)
            root = None if file is None else _root_of(file)
            if file is not None and root is not None:
                found = self._found = CodeRevision(str(file), str(root), _commit_of(root))
                state = _state_of(root, file)
                self._found = None if state == "ignored" else replace(found, dirty=_DIRTY[state])
            until = time.monotonic() + (_NOWHERE_S if self._found is None else _SHARED_S)
            with _lock:
                if len(_shared) >= _MOST_SHARED:
                    _shared.clear()
                _shared[self._key] = until, self._found
        except Exception:
            _LOGGER.exception("the revision of analysis %s cannot be found", self._spec.name)
        finally:
            self._done.set()

    def result(self) -> CodeRevision | None:
        """Return the revision as far as it is known; None: the code is in no repository."""
        self._done.wait(_WAIT_S)
        return self._found


def code_file(spec: AnalysisSpec) -> Path | None:
    """Return the file of an analysis' code: of its class, or its program; None: there is none."""
    if spec.task is not None:
        return _file_of_module(spec.task.partition(":")[0])
    program = getattr(spec.parameters, "executable", None) or spec.program
    name = os.path.expanduser(str(program))
    if not name:
        return None
    if "/" in name:
        path = Path(spec.folder or Path.cwd(), name)
    else:
        found = shutil.which(name)
        if found is None:
            return None
        path = Path(found)
    return path.resolve() if path.is_file() else None


def _file_of_module(name: str) -> Path | None:
    """Return the file of a module, without importing anything."""
    top, *inner = name.split(".")
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    path = Path(found.origin)
    if inner:
        place = path.parent.joinpath(*inner)
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return path.resolve() if path.is_file() else None


def _root_of(file: Path) -> Path | None:
    if "site-packages" in file.parts:  # installed, perhaps into a folder of a repository
        return None
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


def _commit_of(root: Path) -> str:
    """Return the commit that is checked out, as the files of the repository name it."""
    folder = root / ".git"
    if folder.is_file():  # of a worktree, or of a submodule
        folder = root / folder.read_text().partition("gitdir:")[2].strip()
    head = _text(folder / "HEAD")
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else ""
    name = head.partition(":")[2].strip()
    common = folder / _text(folder / "commondir") if (folder / "commondir").exists() else folder
    for place in (folder, common):
        commit = _text(place / name)
        if _COMMIT.fullmatch(commit):
            return commit
    for line in _text(common / "packed-refs").splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name and _COMMIT.fullmatch(commit):
            return commit
    return ""


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _state_of(root: Path, file: Path) -> _State:
    """Return whether files of a repository differ from its commit, or a file is not in it."""
    own = _git(root, "ls-files", "--", str(file))
    if own == "" and _git(root, "ls-files", "-o", "-i", "--exclude-standard", "--", str(file)):
        return "ignored"
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    if changed is None or own is None:
        return "unknown"
    return "dirty" if changed or not own else "clean"


def _git(root: Path, *words: str) -> str | None:
    kept = ("PATH", "HOME", "LANG", "XDG_CONFIG_HOME")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - no word comes from outside but the folder
            ["git", "-C", str(root), *words],  # noqa: S607 - as users would run it
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None
