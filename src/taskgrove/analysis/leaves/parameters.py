"""The parameters of leaves: from their configurations, which are read once for all leaves.

Threads: every method may be called by any thread; ``_lock`` guards the configurations that were
read, and is not held while one is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from taskgrove.analysis.configuration import (
    Configuration,
    EarlierResults,
    Resolved,
    load_configuration,
    parse_configuration,
)
from taskgrove.analysis.configuring.config_text import HEADER
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.commands.task import LeafTask
from taskgrove.errors import AnalysisError
from taskgrove.events import Place

#: The parameter that names the program of a third-party analysis.
_PROGRAM: Final = "executable"
#: The key of the header that holds where no other limit does.
_LIMIT: Final = "task_timeout"


class WrittenParameters(NamedTuple):
    """Where something stands that a user may have to mend; None: in no file.

    Attributes:
        program: The name of the program.
        limit: The limit of the configuration.
    """

    program: Place | None = None
    limit: Place | None = None


class LeafParameters:
    """Reads the configurations of leaves.

    Args:
        earlier: Finds results of earlier runs.
        header: What stands in place of values of their headers.

    Attributes:
        earlier: See above.
    """

    def __init__(self, earlier: EarlierResults, header: Mapping[str, str]) -> None:
        self.earlier = earlier
        self._header = dict(header)
        self._lock = threading.Lock()
        self._files: dict[str, tuple[tuple[int, int], Configuration]] = {}

    def of(self, leaf: LeafTask, entry: AnalysisEntry, earlier: EarlierResults) -> Resolved:
        """Return the parameters of a leaf, its header, and where the parameters came from.

        Args:
            leaf: The leaf.
            entry: Its analysis.
            earlier: Finds results of earlier runs, this time.

        Raises:
            AnalysisError: They cannot be read, or are not valid.
        """
        given = leaf.argin
        if given is not None and not isinstance(given, Mapping):
            raise AnalysisError(
                f"the argument of analysis {entry.name} is a mapping of its parameters, not"
                f" {type(given).__name__}",
                path=leaf.path,
            )
        found = self._configuration(leaf.target, earlier).resolved(entry, given)
        place = leaf.places.argin
        if place is None:
            return found
        origins = (replace(it, place=place) if it.kind == "given" else it for it in found.origins)
        return found._replace(origins=tuple(origins))

    def written(self, leaf: LeafTask) -> WrittenParameters:
        """Return where the files say what a leaf runs, and for how long it may.

        Raises:
            AnalysisError: Its configuration cannot be read.
        """
        given = isinstance(leaf.argin, Mapping) and _PROGRAM in leaf.argin
        if leaf.target is None:
            return WrittenParameters(leaf.places.argin if given else None)
        configuration = self._configuration(leaf.target, self.earlier)
        program = configuration.place_of(leaf.command_name, _PROGRAM)
        if given:
            program = leaf.places.argin
        limit = configuration.place_of(HEADER, _LIMIT)
        if limit is None and configuration.file is not None:
            limit = Place(configuration.file, key=_LIMIT)
        return WrittenParameters(program, limit)

    def _configuration(self, target: Any, earlier: EarlierResults) -> Configuration:
        if isinstance(target, Configuration):
            return target.with_header(self._header)
        if target is None:
            return parse_configuration("header: {}\n", header=self._header)
        if not isinstance(target, (str, Path)):
            raise AnalysisError(
                f"a configuration is a file, not {type(target).__name__}",
                hint="give the leaf a file's name, or a loaded Configuration, as its target",
            )
        name = str(target)
        try:
            found = os.stat(name)
        except OSError:
            return load_configuration(name)  # which says what is wrong
        mark = (found.st_mtime_ns, found.st_size)
        with self._lock:
            known = self._files.get(name)
        if known is None or known[0] != mark:  # a hundred leaves read their file once
            known = mark, load_configuration(name, earlier=self.earlier, header=self._header)
            with self._lock:
                self._files[name] = known
        return known[1] if earlier is self.earlier else known[1].with_earlier(earlier)


class WaitsForEarlier:
    """Stands for earlier results before a run, when its own analyses have not given theirs."""

    def __init__(self, earlier: EarlierResults) -> None:
        self._earlier = earlier
        self.asked = False

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return what there is; what there is not may still come.

        Raises:
            LookupError: There is nothing yet.
        """
        try:
            return self._earlier(experiment, run, task, key)
        except LookupError:
            self.asked = True
            raise
