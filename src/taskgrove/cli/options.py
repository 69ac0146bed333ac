"""The arguments and options of all verbs: each is declared, and explained, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from taskgrove.cli.declared import Argument, Option, OptionGroup

_LONGEST_S = 1e9

# -- what is run ----------------------------------------------------------------------------

MapFile = Annotated[str, Argument("MAP", "A command map: YAML or JSON.")]
CommandName = Annotated[str, Argument("COMMAND", "A command of the map.")]
MapToCheck = Annotated[
    str | None, Argument("[MAP]", "A command map; each of its devices is asked to answer.")
]
MapToSimulate = Annotated[
    str | None,
    Argument("[MAP]", "A command map with a section 'components'; default: the demo's map."),
]
Argin = Annotated[
    str | None,
    Option("--argin", "Arguments as JSON or YAML, by component or keyword; - is stdin.", "FILE"),
]
Manager = Annotated[
    str | None,
    Option("--manager", "The component manager: the methods of internal steps.", "PACKAGE:CLASS"),
]
Offline = Annotated[
    bool, Option("--offline", "Do not ask devices; conditions on their states are not checked.")
]
MaxWorkers = Annotated[
    int, Option("--max-workers", "How many leaves are started at once.", min=1, max=1024)
]
RunGrace = Annotated[
    float, Option("--grace", "Seconds that an aborted leaf may take to end.", min=0, max=3600)
]
Hold = Annotated[bool, Option("--hold", "Hold a step that fails until a person decides on it.")]
PauseBefore = Annotated[
    list[str] | None,
    Option("--pause-before", "Pause when this step is about to start; may be repeated.", "PATH"),
]
Starter = Annotated[str | None, Option("--by", "Who starts the run; default: this user.", "NAME")]
StartWhy = Annotated[str | None, Option("--why", "The reason; kept with the run.", "TEXT")]
RunId = Annotated[
    str | None, Option("--run-id", "The id of the run, for a program that makes ids.", "ID")
]
MapDigest = Annotated[
    str | None,
    Option("--map-digest", "Refuse the map unless this is its SHA-256, as of compose.", "HEX"),
]
PlanDigest = Annotated[
    str | None,
    Option("--plan-digest", "Refuse another plan than that of --dry-run --json.", "HEX"),
]
Act = Annotated[int | None, Option("--act", "Run only this act.", min=1, max=4)]
DemoSpeed = Annotated[
    float, Option("--speed", "How many times as fast the devices are.", min=0.01, max=1000)
]
Faults = Annotated[
    list[str] | None,
    Option(
        "--fault",
        "A fault, such as low-pst/beam/03:Configure=fail; may be repeated.",
        "DEVICE:COMMAND=FAULT",
    ),
]
Speed = Annotated[float | None, Option("--speed", "How many times as fast the commands are.")]
WriteMap = Annotated[
    Path | None, Option("--write-map", "Write the map with the devices' addresses.", "FILE")
]
InvocationLog = Annotated[
    Path | None, Option("--log", "Append every invocation to this file, as JSON lines.", "FILE")
]
Notify = Annotated[
    str | None,
    Option(
        "--notify",
        "Start this program when a run ends other than OK, is held or is lost; '': none.",
        "COMMAND",
        envvar="TASKGROVE_NOTIFY",
    ),
]

# -- analyses -------------------------------------------------------------------------------

ConfigFile = Annotated[str | None, Argument("CONFIG", "A configuration: YAML.")]
AnalysisName = Annotated[
    str | None, Argument("TASK", "The name of an analysis; --list prints all names.")
]
Parameters = Annotated[
    list[str] | None,
    Option("--set", "Set a parameter for this run; may be repeated.", "KEY=VALUE"),
]
AnalysisModules = Annotated[
    list[str] | None,
    Option(
        "--analyses",
        "Load the analyses of this module, besides installed plug-ins; may be repeated.",
        "PACKAGE.MODULE",
    ),
]
Pages = Annotated[
    str | None,
    Option("--pages", "Publish summary plots below this folder.", "DIR", envvar="TASKGROVE_PAGES"),
]
WorkDir = Annotated[
    str | None,
    Option("--work-dir", "Where analyses work; replaces work_dir of the configuration.", "DIR"),
]
Processes = Annotated[
    int | None,
    Option("--processes", "How many analyses run at once; default: one a CPU.", min=1, max=4096),
]
LogbookAddress = Annotated[
    str | None,
    Option(
        "--logbook",
        "Post the status and the summary of analyses to this address; '': nowhere.",
        "URL",
        envvar="TASKGROVE_LOGBOOK_URL",
    ),
]
Timeout = Annotated[
    float | None,
    Option(
        "--timeout",
        "Timeout in seconds; replaces task_timeout of the configuration.",
        "S",
        min=0.001,
        max=_LONGEST_S,
    ),
]
Launcher = Annotated[
    str | None,
    Option(
        "--launcher",
        "The program that starts it, such as 'mpirun -n 4' (not run by a shell); '': none.",
        "COMMAND",
    ),
]
Heartbeat = Annotated[
    float | None,
    Option(
        "--heartbeat",
        "End it after this many seconds without a sign of life.",
        "S",
        min=0.001,
        max=_LONGEST_S,
    ),
]
AnalysisGrace = Annotated[
    float | None,
    Option("--grace", "Seconds between SIGTERM and SIGKILL.", "S", min=0, max=_LONGEST_S),
]
SourcedScript = Annotated[
    str | None,
    Option(
        "--source",
        "Take the environment from this shell script; replaces environment_file.",
        "FILE",
    ),
]
StandardInput = Annotated[
    str | None, Option("--stdin", "The program reads this file as its standard input.", "FILE")
]
PythonOfAnalysis = Annotated[
    str | None,
    Option(
        "--python",
        "Run a first-party analysis in this Python interpreter.",
        "PROGRAM",
    ),
]
Explain = Annotated[
    bool,
    Option("--explain", "Print each value that was read, and where it came from; start nothing."),
]
ListAnalyses = Annotated[bool, Option("--list", "List all analyses.")]
HelpTask = Annotated[
    str | None, Option("--help-task", "Print the parameters of an analysis.", "TASK")
]

# -- what is printed ------------------------------------------------------------------------

JsonEvents = Annotated[bool, Option("--json", "Print events as JSON lines; messages go to stderr.")]
JsonDescription = Annotated[
    bool, Option("--json", "Print the description as JSON; messages go to stderr.")
]
Check = Annotated[
    bool, Option("--check", "Check the command against the devices; call and write nothing.")
]
ComposedAsJson = Annotated[
    bool, Option("--json", "Print the tree, or the error, as one JSON document.")
]
PlanAsJson = Annotated[
    bool, Option("--json", "Print events as JSON lines; with --dry-run the plan as one document.")
]
AsJson = Annotated[bool, Option("--json", "Print plain data as JSON.")]
NoLive = Annotated[bool, Option("--no-live", "Print plain lines instead of a live tree.")]

# -- the record -----------------------------------------------------------------------------

Database = Annotated[
    str | None,
    Option("--db", "The record: a SQLite file, or postgresql://USER@HOST/DATABASE.", "FILE|URL"),
]
NoRecord = Annotated[bool, Option("--no-record", "Do not record the run: no history, no resume.")]
RunReference = Annotated[
    str,
    Argument("RUN", "The id of a run, the beginning of one, last, last-failed or last:COMMAND."),
]
RunOrLast = Annotated[
    str, Argument("[RUN]", "As RUN of 'taskgrove runs show'; default: the newest run.")
]
LostRun = Annotated[
    str | None, Argument("[RUN]", "A lost run; without it, all lost runs are listed.")
]
Runs = Annotated[
    list[str] | None, Argument("[RUN]...", "Runs, as for 'show'; default: those of the filters.")
]
FirstRun = Annotated[str, Argument("A", "A run, as for 'show': the older one, or the better one.")]
SecondRun = Annotated[str, Argument("B", "The run to compare with A.")]
NodePath = Annotated[str, Argument("PATH", "A node, such as configure/configure_pst/pst-01.")]
VerdictWord = Annotated[
    str, Argument("ok|acknowledged|note", "ok: treat the node as OK when the run is resumed.")
]
Why = Annotated[str, Option("--why", "The reason (required).", "TEXT")]
HeldDevice = Annotated[str | None, Argument("DEVICE", "The device; default: list them.")]
ReleaseWhy = Annotated[str, Option("--why", "Why the device may be used; required.", "REASON")]
By = Annotated[str | None, Option("--by", "Who gives the verdict; default: this user.", "NAME")]
StepPath = Annotated[
    str,
    Argument("PATH", "A step, such as observe/scan; a pattern such as 'observe/**' is several."),
]
RequestWhy = Annotated[str, Option("--why", "The reason; kept with the request.", "TEXT")]
AcceptWhy = Annotated[str, Option("--why", "The reason (required); kept with the step.", "TEXT")]
Asker = Annotated[str | None, Option("--by", "Who asks; default: this user.", "NAME")]
Wait = Annotated[
    float,
    Option("--wait", "How long to wait for the answer, in seconds.", "S", min=0, max=86_400),
]
SureOfRun = Annotated[bool, Option("--yes", "Do not ask which run 'last' means.", short="-y")]
Before = Annotated[
    str | None, Option("--before", "Pause when this step is about to start, not now.", "PATH")
]
AbortFirst = Annotated[
    bool,
    Option("--abort-first", "Abort an earlier attempt that may still be at work, and wait for it."),
]
StopFinally = Annotated[bool, Option("--stop-finally", "Stop the clean-up (finally), too.")]
AnswerAsJson = Annotated[bool, Option("--json", "Print the answer as JSON.")]
EventFile = Annotated[
    str | None,
    Option("--events", "Explain the events in a file of 'taskgrove run --json'.", "FILE|-"),
]
OnlyNode = Annotated[
    str | None,
    Option("--node", "Show only this node: its attempts, causes, output and notes.", "PATH"),
]
Redo = Annotated[
    list[str] | None,
    Option(
        "--redo",
        "Run these leaves again, too, such as 'configure/configure_pst/**'; may be repeated.",
        "GLOB",
    ),
]
Yes = Annotated[bool, Option("--yes", "Do not ask for confirmation.", short="-y")]
DryRun = Annotated[bool, Option("--dry-run", "Show the plan, and change nothing.")]
UseFile = Annotated[bool, Option("--use-file", "Read the file as it is now, not as recorded.")]
NoConditions = Annotated[
    bool,
    Option("--no-conditions", "Do not check allowed_states: completed steps may have left them."),
]
Again = Annotated[bool, Option("--again", "Resume a run that was already resumed.")]
GiveUp = Annotated[
    bool, Option("--give-up", "Give up work that cannot be followed; its end stays unknown.")
]
CleanUp = Annotated[
    bool,
    Option("--finally", "Run the clean-up that has not run, after a preview and a yes."),
]
Output = Annotated[
    str | None, Option("--output", "The file to write; default: stdout (-).", "FILE", short="-o")
]
Format = Annotated[
    str | None,
    Option(
        "--format",
        "JSON lines, a folder of Parquet files, or a page; default: by the file name.",
        "jsonl|parquet|html",
    ),
]
OlderThan = Annotated[
    str | None, Option("--older-than", "Runs that began before this time: 90d, 12w.", "TIME")
]
KeepLast = Annotated[
    int | None, Option("--keep-last", "Always keep the newest N runs.", "N", min=0)
]
Rows = Annotated[int, Option("--rows", "How many rows of each table; 0: all.", "N", min=0)]

# -- the page -------------------------------------------------------------------------------

Host = Annotated[
    str,
    Option("--host", "Listen at this address; 0.0.0.0: whoever reaches this machine.", "ADDRESS"),
]
Port = Annotated[
    int, Option("--port", "Listen at this port; 0: any that is free.", "N", min=0, max=65_535)
]
KnownHosts = Annotated[
    list[str] | None,
    Option("--known-host", "A further name of this server, as of a proxy; repeatable.", "NAME"),
]
OpenReading = Annotated[
    bool, Option("--open-reading", "Let whoever reaches the port read; acting needs the link.")
]
MapsToStart = Annotated[
    list[str] | None,
    Option("--map", "Let commands of this map be started from the page; repeatable.", "MAP"),
]
ReadOnly = Annotated[bool, Option("--read-only", "Let nobody act through the page.")]

# -- which runs -----------------------------------------------------------------------------

OfCommand = Annotated[
    str | None, Option("--command", "Only runs of this command; * and ? as in a shell.", "NAME")
]
OfOutcome = Annotated[
    list[str] | None,
    Option(
        "--outcome",
        "Only ok, degraded, failed, rejected, aborted, running or lost; may be repeated.",
        "WORD",
    ),
]
OfDevice = Annotated[
    str | None, Option("--device", "Only runs with a leaf for this device.", "NAME")
]
OfAnalysis = Annotated[
    str | None,
    Option("--analysis", "Only runs with this analysis; * and ? as in a shell.", "NAME"),
]
Since = Annotated[
    str | None,
    Option("--since", "Only runs since 2h, 7d, today, or 2026-11-21 (UTC).", "TIME"),
]
Until = Annotated[str | None, Option("--until", "Only runs before this time (as --since).", "TIME")]
WithLabel = Annotated[
    list[str] | None, Option("--label", "Only runs with this label; may be repeated.", "NAME=VALUE")
]
Limit = Annotated[int | None, Option("--limit", "Only the newest N runs.", "N", min=1)]
ListLimit = Annotated[int, Option("--limit", "Only the newest N runs.", "N", min=1)]
ResultColumns = Annotated[
    list[str] | None,
    Option(
        "--column",
        "Show this value, such as fit.distance or parameters.tag; may be repeated.",
        "NAME",
    ),
]
ByRun = Annotated[
    bool, Option("--by-run", "One row for each run; columns of several analyses name their step.")
]
AsCsv = Annotated[bool, Option("--csv", "Print comma-separated values.")]
#: The options that say which runs are meant, but for their number.
Filters = Annotated[
    dict[str, Any],
    OptionGroup(
        {
            "command": OfCommand,
            "outcomes": OfOutcome,
            "device": OfDevice,
            "analysis": OfAnalysis,
            "since": Since,
            "until": Until,
            "labels": WithLabel,
        }
    ),
]
