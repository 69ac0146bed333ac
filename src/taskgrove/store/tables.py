"""The tables of the record.

The event log is the truth: ``events`` holds every event as it was encoded for the wire.
``runs``, ``nodes``, ``analyses`` and ``pages`` are kept beside it, in the same transaction, so
that lists, trees and statistics are read without decoding a log; they can be made anew from it.
Only progress may stand in a row up to a second later than in the log: a burst of it would
rewrite every row each time.
Instants are UTC in nanoseconds since the epoch (``_ns``); enums are stored by their value.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

_BIG = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

#: One row a run, written before its first event and changed until its end.
runs = Table(
    "runs",
    metadata,
    Column("run_key", _BIG, primary_key=True, autoincrement=True),
    Column("run_id", String(200), nullable=False, unique=True),
    Column("command", Text, nullable=False),
    # running, final, or lost: a state of the record, not of the task
    Column("state", String(16), nullable=False),
    Column("status", Integer),
    Column("result_code", Integer),
    Column("health_state", String(16)),
    Column("message", Text, nullable=False, default=""),
    Column("progress", Integer, nullable=False, default=0),
    Column("created_ns", _BIG, nullable=False),
    Column("started_ns", _BIG),
    Column("ended_ns", _BIG),
    Column("last_ns", _BIG, nullable=False),
    Column("last_sequence", _BIG, nullable=False, default=0),
    Column("leaf_count", Integer, nullable=False, default=0),
    Column("failed_leaf_count", Integer, nullable=False, default=0),
    Column("retry_count", Integer, nullable=False, default=0),
    # How many events could not be kept at all; 0 in every whole record.
    Column("lost_event_count", Integer, nullable=False, default=0),
    Column("parent_run_id", String(200)),
    Column("source", Text, nullable=False, default="{}"),  # RunAbout.source, JSON, redacted
    Column("argv", Text, nullable=False, default="[]"),
    Column("labels", Text, nullable=False, default="{}"),
    Column("versions", Text, nullable=False, default="{}"),  # Python, taskgrove, packages
    Column("host", Text, nullable=False, default=""),
    Column("user", Text, nullable=False, default=""),
    # Why it is lost, and what recovery found, in words.
    Column("state_note", Text, nullable=False, default=""),
    Column("recovered_ns", _BIG),  # when recovery took it over, the last time
    Index("ix_runs_created", "created_ns"),
    Index("ix_runs_command_created", "command", "created_ns"),
    Index("ix_runs_state", "state"),
)

#: Who keeps a run alive; the row goes when the run has ended.
leases = Table(
    "leases",
    metadata,
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("host", Text, nullable=False),
    Column("boot_id", Text, nullable=False, default=""),
    Column("pid", Integer, nullable=False),
    Column("pid_started", Float, nullable=False),  # as psutil.Process.create_time, seconds
    Column("heartbeat_ns", _BIG, nullable=False),
    Column("interval_s", Float, nullable=False),  # a lease is expired after several of these
)

#: One row a resume: which run resumed which. A number is given once, so that of two resumes at
#: once, on two machines too, one begins. A run that ended before a leaf began has no row.
resumes = Table(
    "resumes",
    metadata,
    # The run that was resumed.
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),  # of that run's resumes, from 1
    # The run that resumed it; it may be removed before the other is.
    Column("run_id", String(200), nullable=False, unique=True),
    # The leaves that it set out to run, as JSON; unknown where an older version resumed.
    Column("set_out", Text),
    Column("claimed_ns", _BIG, nullable=False),
)

#: Every path once, for all runs: statistics group by it.
paths = Table(
    "paths",
    metadata,
    Column("path_key", _BIG, primary_key=True, autoincrement=True),
    Column("path", Text, nullable=False, unique=True),
)

#: One row a node of a run, as the events left it.
nodes = Table(
    "nodes",
    metadata,
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("node_number", Integer, primary_key=True),  # in composed order, from 0
    Column("path_key", _BIG, ForeignKey("paths.path_key"), nullable=False),
    Column("execution", String(16), nullable=False),
    Column("device", Text),  # the device of a device leaf
    Column("command_name", Text),
    Column("status", Integer),
    Column("result_code", Integer),
    Column("health_state", String(16)),
    Column("message", Text, nullable=False, default=""),
    Column("attempt", Integer, nullable=False, default=1),
    Column("queued_ns", _BIG),
    Column("started_ns", _BIG),
    Column("ended_ns", _BIG),
    Column("finished_sequence", _BIG),
    Column("skipped", Integer, nullable=False, default=0),
    Column("composed", LargeBinary),  # ComposedDetail, JSON; written once
    Column("facts", LargeBinary),  # the rest of RunNode, JSON; see node_rows
    Index("ix_nodes_path", "path_key", "run_key"),
    Index("ix_nodes_device", "device", "run_key"),
    sqlite_with_rowid=False,
)

#: The log: the truth from which all other tables can be made.
events = Table(
    "events",
    metadata,
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("sequence", _BIG, primary_key=True),
    Column("body", LargeBinary, nullable=False),  # encode_event(event)
    sqlite_with_rowid=False,
)

#: One row a described analysis (an attempt of an analysis leaf, or an analysis run by itself).
analyses = Table(
    "analyses",
    metadata,
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("sequence", _BIG, primary_key=True),
    Column("path_key", _BIG, ForeignKey("paths.path_key"), nullable=False),
    Column("analysis", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("summary", Text, nullable=False, default=""),
    Column("experiment", Text),  # from the configuration's header, where there is one
    Column("experiment_run", Text),
    Column("detail", LargeBinary, nullable=False),  # AnalysisDetail, JSON
    Column("wall_ns", _BIG, nullable=False),
    Index("ix_analyses_name", "analysis", "wall_ns"),
)

#: One row an operator's verdict. It has numbers of its own beside the log's: a verdict is given
#: while the run lives in another process, and must never take a number that this one counts.
verdicts = Table(
    "verdicts",
    metadata,
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),  # in the run, from 1
    Column("body", LargeBinary, nullable=False),  # encode_event(event), its sequence the number
)

#: One row a request of an operator to a live run. Who asks adds a row, and changes nothing; the
#: recorder of the run, or a recovery, adds the answer. A request without an answer is open.
requests = Table(
    "requests",
    metadata,
    # In the order in which they came. An identity: who adds a row needs no right on a sequence.
    Column("request_key", _BIG, Identity(always=True), primary_key=True),
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), nullable=False),
    Column("request_id", String(200), nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),  # SteeringRequest, JSON
    Column("asked_ns", _BIG, nullable=False),
    Column("answer", LargeBinary),  # SteeringAnswer, JSON
    Column("answered_ns", _BIG),
    Index("ix_requests_run", "run_key"),
    Index(
        "ix_requests_open",
        "run_key",
        sqlite_where=text("answered_ns IS NULL"),
        postgresql_where=text("answered_ns IS NULL"),
    ),
)

#: One row a device that one run at a time works on: the run that holds it, or held it last. The
#: device is free once that run is over and its work there is.
device_holds = Table(
    "device_holds",
    metadata,
    Column("device_key", String(400), primary_key=True),
    Column("name", Text, nullable=False),
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), nullable=False),
    Column("since_ns", _BIG, nullable=False),
    Index("ix_device_holds_run", "run_key"),
)

#: One row a published page.
pages = Table(
    "pages",
    metadata,
    Column("run_key", _BIG, ForeignKey("runs.run_key", ondelete="CASCADE"), primary_key=True),
    Column("sequence", _BIG, primary_key=True),
    Column("path_key", _BIG, ForeignKey("paths.path_key"), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("size_bytes", _BIG, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("wall_ns", _BIG, nullable=False),
    Index("ix_pages_name", "display_name", "wall_ns"),
)
