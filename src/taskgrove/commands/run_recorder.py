"""The recorder of runs, as the executor knows it.

The executor hands a recorder the run before its first event, then every event, and at the
end waits for it: a handle reports completion only once the recorder has said that the final
states are kept, or that they cannot be.

Threads: the executor calls :meth:`RunRecorder.begin_run` on the thread that submits, and
:meth:`RunRecorder.end_run` on whichever thread ended the run; both return soon. The observer
that ``begin_run`` returns is called by any thread and only enqueues.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.exclusive import ExclusiveDevice
from taskgrove.events import Observer
from taskgrove.events.device_holder import DeviceHolder
from taskgrove.events.steering_request import Steer


@dataclass(frozen=True, slots=True)
class ResumeClaim:
    """The claim of a run to resume another one; it is written together with the run.

    Attributes:
        number: Which resume of the earlier run it is, from 1; of two with one number the record
            takes one.
        set_out: The paths of the leaves that it sets out to run; it takes over the others.
    """

    number: int
    set_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunAbout:
    """The facts that the record keeps of a run besides its events.

    Attributes:
        command: The command, or the name of the tree's root; empty takes the root's name.
        source: Plain data from which the run can be composed again; empty: it cannot be
            without the program that made it. From the command line: ``kind`` ("map" or
            "analysis"), ``file``, ``text`` (the whole text of the map), ``command``,
            ``argin``, ``manager``.
        argv: The command line of the process.
        parent_run_id: The run that this one resumes, or None.
        labels: Small facts to find it by, as text.
        claim: The claim to resume another run, or None.
    """

    command: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    parent_run_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    claim: ResumeClaim | None = None


class RunRecorder(Protocol):
    """Keeps the record of runs."""

    def begin_run(self, run_id: str, about: RunAbout, *, resumed: bool = False) -> Observer:
        """Make the run known, durably where that is possible, and return its observer.

        Never raises because of the store: events that cannot be written are kept and reported.
        Only a run that claims to resume another may not begin without its record.

        Args:
            run_id: The run.
            about: The facts that the record keeps of it.
            resumed: The run exists in the record and goes on (recovery); its events do too.

        Raises:
            UsageError: Another run has made the same claim.
            StoreError: The claim cannot be written.
        """
        ...

    def end_run(
        self, run_id: str, outcome: AggregationOutcome, when_kept: Callable[[], None]
    ) -> None:
        """Take the outcome; call ``when_kept`` once, when every event of the run is durable.

        Where the store cannot be written, ``when_kept`` is called all the same after a
        bounded time, and the trouble has been told by then.
        """
        ...


#: Hears of the devices of a run: None once the run holds them all, else who holds one of them.
TakeDevices: TypeAlias = Callable[[DeviceHolder | None], None]


@runtime_checkable
class DeviceKeeper(Protocol):
    """A recorder that also keeps which run works on which device alone."""

    def hold_devices(
        self, run_id: str, devices: Sequence[ExclusiveDevice], take: TakeDevices
    ) -> None:
        """Have a run hold all its devices, as soon as no other run of the record holds one.

        The executor calls this after :meth:`RunRecorder.begin_run`. A device is free again when
        the record says that the run is over, and that its work there is.

        Args:
            run_id: The run.
            devices: The devices, in order.
            take: Called with each other run that holds a device, then once with None; from a
                thread of the recorder, and never under a lock.
        """
        ...


@runtime_checkable
class RequestSource(Protocol):
    """A recorder that also brings the requests of operators to a live run."""

    def take_requests(self, run_id: str, steer: Steer) -> None:
        """Hand every request to the run from now on, until the run ends.

        The executor calls this after :meth:`RunRecorder.begin_run`. The answers of the run are
        kept after the events that the requests caused.

        Args:
            run_id: The run.
            steer: Takes a request at once; it must never be called under a lock.
        """
        ...
