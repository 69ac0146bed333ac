"""The Python interpreter of a first-party analysis: our own, or that of a facility.

Another interpreter is the one that somebody named, or the one that a sourced script put before
all others on the PATH. It needs no package of ours. What the analysis lacks there is told before
anything starts.

Threads: every function may be called by any thread; a check waits for a process of its own.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from taskgrove.analysis import other_python
from taskgrove.analysis.running.process import find_program
from taskgrove.analysis.running.spec import AnalysisSpec
from taskgrove.errors import AnalysisError

#: How long another interpreter may take to import an analysis, in seconds.
PROBE_LIMIT_S: Final = 120.0
_NAMES: Final = ("python", "python3")
_LAST_LINES: Final = 2


def interpreter_of(spec: AnalysisSpec, environment: Mapping[str, str]) -> str | None:
    """Return the interpreter of a first-party analysis; None: our own.

    Args:
        spec: The analysis.
        environment: Its exact environment, what is sourced included.

    Raises:
        AnalysisError: The one that was named is not there, or may not be executed.
    """
    if spec.python is not None:
        found: str | None = find_program(
            os.path.expanduser(spec.python), environment, Path.cwd(), what="Python interpreter"
        )
    elif spec.environment.source is not None:
        found = _activated(environment.get("PATH", os.defpath))
    else:
        return None
    return None if found is None or _folder(found) == _folder(sys.executable) else found


def child_command(python: str | None, task: str) -> tuple[str, ...]:
    """Return the command line of the process of an analysis, without its launcher."""
    if python is None:
        return (sys.executable, "-P", "-m", "taskgrove.analysis.child", task)
    return (python, other_python.__file__, task)


def places_for(python: str | None, *classes: str) -> tuple[list[str], dict[str, str]]:
    """Return where an interpreter looks for modules last, and the packages that it is lent.

    Another interpreter cannot use our installed libraries. It is lent the packages of the
    classes, where these are installed in our own.

    Args:
        python: The other interpreter; None: our own, which may look wherever we do.
        classes: Each ``package.module:Class``, or empty.
    """
    path = [os.path.abspath(place) for place in sys.path]
    if python is None:
        return path, {}
    ours = _own_folders()
    names = {place.partition(":")[0].partition(".")[0] for place in classes} - {""}
    files = {name: _file_of(name) for name in names}
    carried = {
        name: file
        for name, file in files.items()
        if file is not None and any(file.startswith(folder + os.sep) for folder in ours)
    }
    return [place for place in path if not _is_own(place, ours)], carried


def check_interpreter(python: str, spec: AnalysisSpec, environment: Mapping[str, str]) -> None:
    """See that an analysis can run in another interpreter, by importing it there.

    The class of its parameters is imported where that is possible, as it will be.

    Raises:
        AnalysisError: It is no interpreter, an old one, or one in which the import fails.
    """
    task, parameters_class, folder = spec.task or "", spec.parameters_class, spec.folder
    search_path, carried = places_for(python, task, parameters_class)
    asked = {
        "task": task,
        "parameters_class": parameters_class,
        "search_path": search_path,
        "carried": carried,
    }
    items = tuple(sorted(environment.items()))
    where = str(folder) if folder is not None and folder.is_dir() else None
    told = _asked(python, json.dumps(asked, sort_keys=True), items, where)
    version = ".".join(map(str, told["version"]))
    if tuple(told["version"]) < other_python.OLDEST:
        oldest = ".".join(map(str, other_python.OLDEST))
        raise AnalysisError(
            f"{python} is Python {version}; an analysis runs in Python {oldest} or newer",
            file=python,
            hint="name another interpreter with `python`",
        )
    if told["missing"] is not None:
        raise AnalysisError(
            f"{task} cannot run in {python} (Python {version}): {told['missing']}",
            file=python,
            hint="install what is missing there; of taskgrove, the module of the class may import"
            " AnalysisTask and results, but neither entries nor parameters",
        )


@functools.lru_cache(maxsize=64)
def _asked(
    python: str, asked: str, environment: tuple[tuple[str, str], ...], folder: str | None
) -> dict[str, Any]:
    """Return what an interpreter tells; it is asked once."""
    command = [python, other_python.__file__, "--probe", asked]
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own interpreter
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"it gave no answer within {PROBE_LIMIT_S:g} s"
    except OSError as exc:
        why = exc.strerror or str(exc)
    else:
        try:
            told = json.loads(done.stdout.decode(errors="replace").strip().rpartition("\n")[2])
            if isinstance(told, dict) and "version" in told:
                return told
        except ValueError:
            pass
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        why = " / ".join(lines[-_LAST_LINES:]) or f"exit status {done.returncode}, and no answer"
    raise AnalysisError(
        f"{python} cannot be used as a Python interpreter: {why}",
        file=python,
        hint="name the program of Python itself, such as /opt/conda/envs/NAME/bin/python",
    )


def _activated(path: str) -> str | None:
    """Return the interpreter that a PATH has put before the one of our own PATH, or None."""
    for name in _NAMES:
        found = shutil.which(name, path=path)
        if found is not None:
            before = shutil.which(name, path=os.environ.get("PATH", os.defpath))
            return None if before is not None and _folder(before) == _folder(found) else found
    return None


def _folder(program: str) -> str:
    # Not of the file itself: the interpreters of all virtual environments are links to one.
    return os.path.realpath(os.path.dirname(os.path.abspath(program)))


def _own_folders() -> set[str]:
    """Return the folders of the libraries that were installed for our interpreter."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {*site.getsitepackages(), site.getusersitepackages()}
    found |= {place for place in sys.path if _is_own(place, set())}
    return {os.path.abspath(place) for place in found}


def _is_own(place: str, ours: set[str]) -> bool:
    name = os.path.basename(place)
    libraries = name in {"site-packages", "dist-packages", "lib-dynload"}
    return place in ours or libraries or (name.startswith("python") and name.endswith(".zip"))


def _file_of(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return None if spec is None or not spec.has_location else spec.origin
