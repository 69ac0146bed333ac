"""Facts of the past that are not in the record yet: spills, described for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

#: Runs that a sentence names.
_NAMED: Final = 5


class AsideRun(NamedTuple):
    """A run of which something is kept aside.

    Attributes:
        run_id: The run.
        command: Its command; empty where its row was in the record before.
        created_ns: When it was made, UTC, nanoseconds since the epoch; None: as above.
    """

    run_id: str
    command: str
    created_ns: int | None


@dataclass(frozen=True, slots=True)
class KeptAside:
    """A spill whose entries are not in the record.

    Attributes:
        path: The file.
        runs: The runs of its entries, oldest first; empty where it cannot be read.
        why: Why it is not in the record, in words.
        hint: How to mend that.
        is_held: Whether a process that lives writes it, and will bring it into the record.
        is_damaged: Whether it was renamed because a part of it cannot be read: it is told once.
    """

    path: Path
    runs: tuple[AsideRun, ...]
    why: str
    hint: str
    is_held: bool = False
    is_damaged: bool = False

    @property
    def words(self) -> str:
        """The file as a sentence for people."""
        count = len(self.runs)
        named = [f"{run.run_id} ({run.command})" if run.command else run.run_id
                 for run in self.runs[-_NAMED:]]  # fmt: skip
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        what = f"run{'s' * (count > 1)} {', '.join(named)}{more}" if named else "something"
        return (
            f"the record is not complete: {what} {'are' if count > 1 else 'is'} kept aside in"
            f" {self.path}: {self.why}; {self.hint}"
        )


@dataclass(frozen=True, slots=True)
class TakenIn:
    """The result of taking in spills.

    Attributes:
        told: A sentence for people about each file that was written into the record.
        left: The files that could not be written.
    """

    told: tuple[str, ...] = ()
    left: tuple[KeptAside, ...] = ()
