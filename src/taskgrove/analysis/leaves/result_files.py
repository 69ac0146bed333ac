"""Which leaf of a tree writes which file: two that would write one are refused.

Threads: every method of :class:`ResultFiles` may be called by any thread; ``_lock`` guards what
was claimed.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from taskgrove.commands.base_task import BaseTask
from taskgrove.commands.task import LeafTask
from taskgrove.errors import AnalysisError

if TYPE_CHECKING:
    from taskgrove.analysis.parameters.base import TaskParameters

_SHOWN_FILES: Final = 3


class _Claims:
    """What the leaves of one tree have claimed."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.files: dict[str, tuple[str, ...]] = {}


class ResultFiles:
    """The files that leaves of trees name as their results, each claimed by one leaf."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trees: weakref.WeakKeyDictionary[BaseTask, _Claims] = weakref.WeakKeyDictionary()

    def claim(self, leaf: LeafTask, parameters: TaskParameters, work_dir: str | None) -> None:
        """Have a leaf own the files of its result; again when it is tried again.

        Args:
            leaf: The leaf.
            parameters: Its parameters, which name the files.
            work_dir: The folder in which it works; None or empty: the current one.

        Raises:
            AnalysisError: Another leaf of the tree owns one of them.
        """
        files = result_files(parameters, work_dir)
        path = leaf.path
        with self._lock:
            claims = self._trees.setdefault(_root(leaf), _Claims())
            for file in claims.files.pop(path, ()):  # what it claimed before it knew better
                del claims.owners[file]
            taken = [file for file in files if file in claims.owners]
            if not taken:
                claims.files[path] = files
                claims.owners |= dict.fromkeys(files, path)
                return
            owner = claims.owners[taken[0]]
        given = list(leaf.argin) if isinstance(leaf.argin, dict) else []
        name = given[-1] if given else "frame"
        raise AnalysisError(
            f"its result {', '.join(taken[:_SHOWN_FILES])} would be written by {owner} too",
            path=path,
            hint=f"put a value that differs into the name, such as {{{{ {name} }}}}",
        )


def result_files(parameters: TaskParameters, work_dir: str | None) -> tuple[str, ...]:
    """Return the files that parameters name as the result, as absolute paths.

    Folders and devices are left out: two leaves may write into one folder.
    """
    folder = os.path.join(work_dir or "", parameters.run_folder() or "")
    found = []
    for value in parameters.named_results():
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if _is_name_of_file(item):
                found.append(os.path.realpath(os.path.join(folder, item)))
    return tuple(dict.fromkeys(file for file in found if _may_be_written(file)))


def _is_name_of_file(value: Any) -> bool:
    return (
        isinstance(value, (str, PurePath))
        and bool(str(value).strip())
        and "\0" not in str(value)
        and not str(value).endswith("/")
    )


def _may_be_written(file: str) -> bool:
    return os.path.isfile(file) or not os.path.exists(file)


def _root(leaf: LeafTask) -> BaseTask:
    node: BaseTask = leaf
    while node.parent is not None:
        node = node.parent
    return node
