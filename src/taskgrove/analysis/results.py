"""Task state and results of an analysis: the data classes of seed 004.

The fields, their order and their defaults are those of the seed. Added is the
check of :attr:`ElogSummaryPlots.display_name`. Nothing heavy is imported here: a figure is
any object of the library that drew it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Dict, Final, List, Optional, Union  # noqa: UP035

from taskgrove.errors import AnalysisError
from taskgrove.lazy_exports import LaterModule

if TYPE_CHECKING:
    import holoviews as hv
    import matplotlib.pyplot as plt
    import panel as pn

    from taskgrove.analysis.parameters import base as parameters
else:
    # Imported only when the types of the fields are read.
    hv, plt, pn = map(LaterModule, ("holoviews", "matplotlib.pyplot", "panel"))
    parameters = LaterModule("taskgrove.analysis.parameters.base")

#: Longest name of one part of a display name, and of the whole, in bytes of UTF-8.
MAX_NAME_BYTES: Final = 255
_MAX_PATH_BYTES: Final = 3000
#: Letters that show nothing, or only space, and that Unicode still counts as printable.
_BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


class TaskStatus(Enum):
    """The state of an analysis; not the ``TaskStatus`` of the control model."""

    PENDING = 0
    """Not running yet: it is queued, or waits for analyses before it. RUNNING may follow, or an
    end."""
    RUNNING = 1
    """Its program runs."""
    COMPLETED = 2
    """It ran to its end without a fatal error. Final."""
    FAILED = 3
    """A fatal error ended it. Final."""
    STOPPED = 4
    """It is suspended, perhaps for a while: RUNNING follows, or an end."""
    CANCELLED = 5
    """It was called off before it could complete or fail. Final."""
    TIMEDOUT = 6
    """It had not ended when its time was up. Final."""


@dataclass
class TaskResult:
    """The result of an analysis, with its summary.

    Attributes:
        task_name: Name of the analysis that made it.
        task_status: The state of that analysis.
        summary: A short message about the result.
        payload: The result itself: any data.
        impl_schemas: Names of the schemas that the analysis implements, separated by ``;``
            (``"schema1;schema2"``); a schema describes the kind of analysis and the
            content of its payload. None: it declares none.
    """

    task_name: str
    task_status: TaskStatus
    summary: str
    payload: Any
    impl_schemas: Optional[str] = None  # noqa: UP045 - annotations as in the seed


@dataclass
class ElogSummaryPlots:
    """Plots that sum an analysis up, for display in an electronic logbook.

    Attributes:
        display_name: Where they are displayed, which is also where the page is kept on disk:
            ``scans/my_motor_scan`` is the page ``my_motor_scan`` under the tab ``scans``.
        figures: The plots.

    Raises:
        AnalysisError: On creation: ``display_name`` is not a path that stays below a root (a
            ValueError); choose another name.
    """

    display_name: str
    figures: Union[pn.Tabs, hv.Image, plt.Figure]  # noqa: UP007 - as in the seed

    def __post_init__(self) -> None:
        check_display_name(self.display_name)


@dataclass
class DescribedAnalysis:
    """The whole description of one run of an analysis, held by its executor.

    Attributes:
        task_result: Its result.
        task_parameters: Its validated parameters, or None where they never became valid.
        task_env: The exact environment in which it ran.
        poll_interval: Period, in seconds, of the poll that reconciles what events may have
            missed.
        communicator_desc: One description for each communicator, in their order.
    """

    task_result: TaskResult
    task_parameters: Optional[parameters.TaskParameters]  # noqa: UP045 - annotations as in the seed
    task_env: Dict[str, str]  # noqa: UP006
    poll_interval: float
    communicator_desc: List[str]  # noqa: UP006


def check_display_name(name: object) -> str:
    """Return ``name`` if it is a display name: a relative path whose parts are plain names.

    Raises:
        AnalysisError: It is not; the error names the wrong part and the reason.
    """
    if not isinstance(name, str):
        raise _wrong_name(name, f"it is a text, not {type(name).__name__}")
    if name.startswith("/"):
        raise _wrong_name(name, "it is an absolute path")
    for part in name.split("/"):
        if not part.strip():
            raise _wrong_name(name, "a part of it is empty")
        if part in {".", ".."}:
            raise _wrong_name(name, f"the part {part!r} is not a name")
        hidden = [char for char in part if not char.isprintable() or char in _BLANKS]
        if hidden:
            why = f"it holds U+{ord(hidden[0]):04X}, a control character or an invisible one"
            raise _wrong_name(name, why)
        if len(part.encode()) > MAX_NAME_BYTES:
            raise _wrong_name(name, f"a part of it is longer than {MAX_NAME_BYTES} bytes")
    if len(name.encode()) > _MAX_PATH_BYTES:
        raise _wrong_name(name, f"it is longer than {_MAX_PATH_BYTES} bytes")
    return name


def _wrong_name(name: object, why: str) -> AnalysisError:
    shown = repr(name) if len(repr(name)) <= 120 else repr(name)[:117] + "..."
    return AnalysisError(
        f"{shown} is not a display name: {why}",
        hint="a display name is a relative path such as 'scans/my_motor_scan'",
    )
