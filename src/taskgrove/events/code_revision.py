"""The revision of code that is kept in git."""

from __future__ import annotations

import msgspec


class CodeRevision(msgspec.Struct, frozen=True, omit_defaults=True):
    """The revision of the code of an analysis when it was started.

    Attributes:
        file: The file of the code, an absolute path.
        root: The folder of its repository.
        revision: The commit that was checked out; empty: there is none yet.
        dirty: Whether files differed from that commit, or this one is not in the repository;
            None: it could not be found out.
    """

    file: str
    root: str
    revision: str = ""
    dirty: bool | None = None
