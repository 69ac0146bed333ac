"""The details of each kind of event."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from taskgrove.events.cause import Cause, Place
from taskgrove.events.code_revision import CodeRevision
from taskgrove.events.left_out import LeftOut
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.events.value_origin import ValueOrigin

ExecutionKind: TypeAlias = Literal["SEQUENTIAL", "PARALLEL", "INTERNAL", "DEVICE", "ANALYSIS"]
StepKind: TypeAlias = Literal["command", "write", "wait", "expect"]
"""The kinds of steps of a device: a command is called, or an attribute is written or read."""
#: Which rule decided an outcome. ``all``, ``any`` and ``quorum`` count successes; ``own`` is a
#: class of the user; ``empty``, ``aborted`` and ``progress`` hold before every rule.
RuleKind: TypeAlias = Literal[
    "all", "any", "quorum", "pst_group", "cbf", "refusal", "default", "leaf", "own",
    "empty", "aborted", "progress",
]  # fmt: skip


class ComposedDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="composed"):
    """The whole node, as it was composed.

    Attributes:
        execution: How the node is executed.
        children: Names of the children, in order; empty for a leaf.
        rule: The explicit rule, as a line for people (``quorum 0.8``), or None.
        timeout_s: The limit set on this node, in seconds; None means no limit.
        retries: How often a leaf may be tried again.
        root: True for the root of the tree.
        operation: The operation handed to the rules.
        obs_mode: The observation mode handed to the rules.
        target: The device, or the object, that a leaf acts on, as a name.
        command_name: The command or method of a leaf.
        pst_group: Whether the node is aggregated as a group of PST beams; None: by its name.
        skip_subtasks: Whether a failure makes the rest of a sequence casualties.
        notes: The steps that the composer left out and why, and limits that cannot be enforced.
        address: How a device is reached, where its name alone is not enough; None otherwise.
        left_out: The steps that the composer left out of this node, and why.
        place: Where the map defines the node, or None.
        timeout_place: Where the map sets the node's limit, or None.
        argin_place: Where the argument of a leaf was written, or None.
        description: A sentence of the map about the node; may be empty.
        call: The command of the map that the node runs as a subtree, or None.
        is_finally: True for the clean-up of a sequence, its last child.
        hold: True for a leaf whose failure waits for an operator's decision.
        hold_timeout_s: How long it waits before the failure stands, in seconds; None: for ever.
        retry_delay_s: The pause before an automatic further attempt, in seconds.
        retry_backoff: The factor by which each further pause is longer than the one before.
        step: Of a leaf on a device: ``command``, or what is done with the attribute whose name is
            in ``command_name``: ``write``, ``wait`` (until it has a value), ``expect`` (now).
        argin: The argument of a device or a method, as plain data; a reference to a result of an
            earlier step stands in it as it is written. None: it has none.
    """

    execution: ExecutionKind
    children: tuple[str, ...] = ()
    rule: str | None = None
    timeout_s: float | None = None
    retries: int = 0
    root: bool = False
    operation: str | None = None
    obs_mode: str | None = None
    target: str | None = None
    command_name: str | None = None
    pst_group: bool | None = None
    skip_subtasks: bool = False
    notes: tuple[str, ...] = ()
    address: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    place: Place | None = None
    timeout_place: Place | None = None
    argin_place: Place | None = None
    description: str = ""
    call: str | None = None
    is_finally: bool = False
    hold: bool = False
    hold_timeout_s: float | None = None
    retry_delay_s: float = 0.0
    retry_backoff: float = 1.0
    step: StepKind = "command"
    argin: Any = None


class StartedDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="started"):
    """The work that runs outside: enough to find it again.

    Attributes:
        outside_kind: ``command`` (a TANGO command id), ``process`` (a pid), ``job``, or None.
        outside_id: The id itself, opaque.
    """

    outside_kind: str | None = None
    outside_id: str | None = None


class FinishedDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="finished"):
    """How the end was decided.

    Attributes:
        rule: The rule that decided, as words, or None for a leaf.
        succeeded: How many children succeeded.
        needed: How many had to, or None where the rule has no number.
        total: Of how many.
        line: The same, as a line for people.
        skipped: True for a step that was not run because an earlier one failed.
        severe: True when the outcome was severe: a parent does not soften it.
        error: The error that ended it, as text.
        cause: Why a leaf ended so, or why a node was not begun; None: nothing more is known.
        result_value: The data that a command returned, besides its code and message.
        left_out: The steps that were left out of the node, and below it.
        begun: True for a node that ended REJECTED although its work had begun.
        rule_kind: Which rule decided; None for a leaf, and in older records.
        accepted: True for a leaf whose failure a person accepted, and for a node above one that
            has no problem.
        accepted_by: The persons, in order of their names.
        request: The request of an operator that ended the node so, or None.
    """

    rule: str | None = None
    succeeded: int | None = None
    needed: int | None = None
    total: int | None = None
    line: str | None = None
    skipped: bool = False
    severe: bool = False
    error: str | None = None
    cause: Cause | None = None
    result_value: Any = None
    left_out: tuple[LeftOut, ...] = ()
    begun: bool = False
    rule_kind: RuleKind | None = None
    accepted: bool = False
    accepted_by: tuple[str, ...] = ()
    request: SteeringRequest | None = None


class NoteDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="note"):
    """Something worth telling that changes no status.

    Attributes:
        topic: One of ``abort-asked``, ``abort-acknowledged``, ``abort-unheard``,
            ``abort-ended``, ``abandoned``, ``timeout``, ``retry``, ``attempt``, ``late``,
            ``refused``, ``reconciled``, ``limit``, ``observer``, ``operator``, ``reused``,
            ``recovered``, ``lost``, ``logbook`` (a logbook did not get an entry about an analysis:
            the data ``entry`` and ``status`` say which, ``why``, ``words``, ``code`` and ``tries``
            why), ``nothing-to-do`` (the condition of ``skip_if`` held: ``found`` of the data),
            ``silent`` (the target has stopped answering, since
            ``since_ns`` of the data), ``answers`` (it answers again), ``info``,
            ``argument`` (the step starts with ``argin`` of the data, as one line of JSON: the
            references to results in it have their values). Of steering:
            ``held`` (the last attempt failed, and a decision is awaited; ``cause`` says why, the
            data ``until_ns`` when the failure will stand), ``undecided`` (the same, once all other
            steps of its group have ended), ``delayed`` (the next attempt begins at ``until_ns`` of
            the data), ``paused`` and ``continued`` (of the root), ``pause-before`` (of a node:
            the run pauses when the node is about to start), ``parked`` (of a node: its turn has
            come, and the pause keeps it from starting), ``asked`` (an operator's request that has
            no event of its own), ``hold-expired``, ``was-held`` (the leaf waited for a decision
            when the runner was lost, and its failure stands; ``waiting`` of the data says how:
            ``held``, ``undecided``, ``delayed`` or ``parked``, and ``may_have_begun`` that a
            further attempt may have begun). A ``retry`` that an operator asked for has a
            ``request``.
        data: Small facts that belong to it, as text. With ``reused``: ``run``, where the end
            stands that was taken over; and where a person said to treat it as OK ``verdict``,
            ``who``, ``why`` and ``state``, the end in one word that the leaf had in that run, or
            where an operator accepted its failure ``accepted_by``. With ``late``: ``status``, in
            which the work ended after all. With ``retry``, ``attempt``, ``held``, ``undecided`` and
            ``delayed``: ``words``, why the attempt failed, in the words that were told of it.
        cause: With the topic ``retry``: why the attempt ended so; ``late``: why the work did;
            ``reused``: why the end was bad that a person said to treat as OK; ``silent``: the
            silence; ``held``, ``undecided``, ``was-held``: why the attempt failed.
        request: The request of an operator that led to it, or None.
    """

    topic: str
    data: dict[str, str] = {}
    cause: Cause | None = None
    request: SteeringRequest | None = None


class AnalysisDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="analysis"):
    """The settings and the result of an analysis: enough to run it again (a note's detail).

    Attributes:
        analysis: The analysis' name.
        parameters: The validated parameters, as one line of JSON.
        origins: Where each parameter came from; their ``value`` is empty.
        environment: The exact environment, secrets redacted.
        argv: The command line.
        cwd: The working folder.
        host: Where it ran.
        user: As whom.
        pid: Its process.
        versions: The versions of the code and of the packages, by name.
        code: The revision of its code, where that is kept in git; None: it is not.
        communicators: Each communicator, described, in order.
        poll_interval_s: Period of the reconciling poll, in seconds.
        timeout_s: Its limit, in seconds, or None.
        grace_s: From SIGTERM to SIGKILL, in seconds.
        heartbeat_s: How long it may be silent, in seconds; None: as long as it likes.
        source: The script that was sourced for its environment, or None.
        status: The name of the analysis' own status (``COMPLETED``, ``TIMEDOUT``, ...).
        summary: The result's short summary.
        summary_values: The dicts that were given as the summary, merged, as one line of JSON.
        impl_schemas: The declared contracts of the result, or None.
        payload: The payload, or the reference to it (path, size, hash), as one line of JSON.
        return_code: The exit status of the process, negative for a signal; None: unknown.
        duration_s: How long the process ran, in seconds.
        cpu_s: Processor time of the process and its children, in seconds.
        max_rss_bytes: Most memory that a process of it held, in bytes.
        output_files: The files that hold its output, absolute paths.
    """

    analysis: str
    parameters: str = "{}"
    origins: tuple[ValueOrigin, ...] = ()
    environment: dict[str, str] = {}
    argv: tuple[str, ...] = ()
    cwd: str = ""
    host: str = ""
    user: str = ""
    pid: int | None = None
    versions: dict[str, str] = {}
    code: CodeRevision | None = None
    communicators: tuple[str, ...] = ()
    poll_interval_s: float | None = None
    timeout_s: float | None = None
    grace_s: float | None = None
    heartbeat_s: float | None = None
    source: str | None = None
    status: str = ""
    summary: str = ""
    summary_values: str = "{}"
    impl_schemas: str | None = None
    payload: str = "null"
    return_code: int | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    output_files: tuple[str, ...] = ()


class PageDetail(msgspec.Struct, frozen=True, omit_defaults=True, tag="page"):
    """A page that was published (a note's detail).

    Attributes:
        display_name: The page's place, such as ``scans/my_motor_scan``.
        file: Where it was written, an absolute path.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
    """

    display_name: str
    file: str
    size_bytes: int
    sha256: str


EventDetail: TypeAlias = (
    ComposedDetail | StartedDetail | FinishedDetail | NoteDetail | AnalysisDetail | PageDetail
)
