"""An entry that a logbook did not get, as a sentence and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from taskgrove.analysis.publishing.logbook_entries import Entry
    from taskgrove.analysis.publishing.page_origin import PageOrigin

#: Why an entry was not posted: the logbook ``answered`` with an error; ``no_answer`` came in time;
#: ``unreachable``: there was no connection; ``garbage``: the answer was not HTTP; ``queue_full``:
#: too many entries waited; ``closed``: the logbook was closed; ``file``: the entry was posted
#: without a file that cannot be read; ``fault``: the entry could not be made.
TroubleKind: TypeAlias = Literal[
    "answered", "no_answer", "unreachable", "garbage", "queue_full", "closed", "file", "fault"
]
#: The topic of the note that keeps a trouble in the record.
LOGBOOK_TOPIC: Final = "logbook"


class LogbookTrouble(str):
    """An entry that a logbook did not get: a sentence for people, with its parts as attributes.

    Args:
        entry: The entry.
        logbook: The address of the logbook, without its query, which may be secret.
        why: Why.
        words: The same in words.
        code: The status code of its last answer, or None.

    Attributes:
        origin: The analysis that the entry is about.
        entry: ``status``, ``parameters`` or ``message``.
        status: The status that the entry tells, or None.
        logbook: See above.
        why: See above.
        words: See above.
        code: See above.
        tries: How often it was tried.
    """

    __slots__ = ("code", "entry", "logbook", "origin", "status", "tries", "why", "words")
    origin: PageOrigin
    entry: str
    status: str | None
    logbook: str
    why: TroubleKind
    words: str
    code: int | None
    tries: int

    def __new__(
        cls, entry: Entry, logbook: str, why: TroubleKind, words: str, code: int | None = None
    ) -> LogbookTrouble:
        """Make one."""
        tries = ""
        if entry.tries and why != "file":
            tries = f" ({entry.tries} {'try' if entry.tries == 1 else 'tries'})"
        lacks = "a file of the" if why == "file" else "the"
        made = super().__new__(
            cls, f"the logbook at {logbook} did not get {lacks} {entry.title}: {words}{tries}"
        )
        made.origin, made.entry, made.status = entry.origin, entry.kind, entry.status
        made.logbook, made.why, made.words = logbook, why, words
        made.code, made.tries = code, entry.tries
        return made

    def as_data(self) -> dict[str, str]:
        """Return the facts as texts by name, for a note of the record."""
        facts = {
            "logbook": self.logbook,
            "entry": self.entry,
            "status": self.status,
            "why": self.why,
            "words": self.words,
            "code": None if self.code is None else str(self.code),
            "tries": str(self.tries),
        }
        return {name: text for name, text in facts.items() if text is not None}
