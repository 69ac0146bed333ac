"""What launchers of parallel programs say when a rank has failed: always the same, and last.

Open MPI (mpirun, PRRTE), MPICH and Intel MPI (Hydra), and Slurm (srun, slurmstepd) are known.
"""

from __future__ import annotations

import re
from typing import Final

_RULE: Final = re.compile(r"[-=*_~#]{10,}\Z")
#: A block between two rules is no longer than this, in lines.
_BLOCK_LIMIT: Final = 60
_PARAGRAPH_LIMIT: Final = 400

_STARTERS: Final = r"(?:mpirun|mpiexec(?:\.hydra)?|orterun|prterun|prun|prte)"
_NOISE: Final = re.compile(
    rf"""\A(?:
    Primary\ job\s+terminated\ normally,\ but
    | a\ non-zero\ exit\ code\.\ Per\ user-direction
    | {_STARTERS}\ (?:detected|noticed)\ that\ (?!.*\bsignal\b)
    | thus\ causing\ the\ job\ to\ be\ terminated
    | the\ job\ to\ be\ terminated\.\ The\ first
    | Process\ name:\ \[ | Exit\ code:\s+-?\d+\s*\Z
    | MPI_ABORT\ was\ invoked\ on\ rank | with\ errorcode\ -?\d+
    | NOTE:\ invoking\ MPI_ABORT\ causes | You\ may\ or\ may\ not\ see\ output
    | exactly\ when\ (?:Open\ MPI|PRRTE)\ kills\ them
    | \[[\w.-]+:\d+\]\ (?:\d+\ more\ process|Set\ MCA\ parameter|\*\*\*|Signal\ code:|Failing\ at)
    | \[[\w.-]+:\d+\]\ \[\ ?\d+\]
    | =\s+(?:BAD\ TERMINATION|PID\s|RANK\s|KILLED\ BY|EXIT\ CODE:|EXIT\ STATUS)
    | =\s+(?:CLEANING\ UP|YOU\ CAN)
    | This\ typically\ refers\ to\ a\ problem\ with\ your\ application
    | Please\ see\ the\ FAQ\ page\ for\ debugging
    | \[(?:proxy|mpiexec)[:@][^\]]*\]
    | application\ called\ MPI_Abort\( | Abort\(\d+\)\ on\ node\ \d+
    | srun:\ error:\ .*:\ (?:Exited\ with\ exit\ code|exit\ code)
    | srun:\ (?:Job\ step\ aborted|Terminating|Force\ Terminat|launch/slurm|First\ task\ exited
        | tasks?\ [\d,-]+:\ (?:running|exited))
    | slurmstepd:\ (?:error:\ )?\*\*\*\ (?:STEP|JOB)\ (?!.*DUE\ TO)
    | slurmstepd:\ (?:error:\ )?.*(?:task_p_\w+|Exited\ with)
    | \#\d+\s+0x[0-9a-f]+ | Error\ termination\.\ Backtrace
    | Backtrace\ for\ this\ error
    )""",
    re.X | re.I,
)
#: A block that begins so is left out to its end: all of it explains the launcher.
_NOISE_BLOCK: Final = re.compile(
    rf"\A(?:{_STARTERS} has exited due to process rank|MPI_ABORT was invoked on rank"
    r"|An MPI process has executed an operation involving a call|=\s+BAD TERMINATION)",
    re.I,
)
_DETAIL: Final = re.compile(
    r"\A\s*(?:Executable|Application name|Node|Local host|Path):\s+\S", re.I
)


def without_launchers(lines: list[str]) -> tuple[list[str], str]:
    """Return the lines that are not a launcher's, and what the launcher says of its own trouble.

    Words of ranks in the midst of a launcher's are kept.
    """
    own: list[str] = []
    trouble = ""
    index = 0
    while index < len(lines):
        line = lines[index].strip()
        end = _end_of_block(lines, index) if _RULE.match(line) else None
        if end is not None:
            block = lines[index + 1 : end]
            first = next((item.strip() for item in block if item.strip()), "")
            if _NOISE_BLOCK.match(first):
                index = end + 1
                continue
            if _speaks_of_itself(first):
                trouble = _paragraph(block)
                index = end + 1
                continue
        if not (_RULE.match(line) or _NOISE.match(line)):
            own.append(lines[index])
        index += 1
    return own, trouble


_OF_ITSELF: Final = re.compile(
    rf"\A(?:{_STARTERS}\b|There are not enough slots"
    r"|All nodes which are allocated"
    r"|(?:ORTE|PRTE|A daemon|An ORTE daemon|The OpenFabrics|No network interfaces|It looks like"
    r"|A request was made|The specified|Open MPI (?:tried|was|has)|Your job))",
    re.I,
)


def _speaks_of_itself(first: str) -> bool:
    return bool(_OF_ITSELF.match(first)) and not _NOISE.match(first)


def _end_of_block(lines: list[str], start: int) -> int | None:
    """Return where the rule stands that closes a block, or None."""
    for index in range(start + 1, min(len(lines), start + _BLOCK_LIMIT)):
        if _RULE.match(lines[index].strip()):
            return index if index > start + 1 else None
    return None


def _paragraph(block: list[str]) -> str:
    """Return the first paragraph of a block as one line, with what it names."""
    words: list[str] = []
    for line in block:
        if line.strip():
            words.append(line.strip())
        elif words:
            break
    text = " ".join(" ".join(words).split())[:_PARAGRAPH_LIMIT]
    named = [" ".join(line.split()) for line in block if _DETAIL.match(line)]
    return "; ".join([text, *named])
