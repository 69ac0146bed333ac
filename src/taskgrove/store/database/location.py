"""Where a record is: a SQLite file or a PostgreSQL database, from the user's text."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote

from taskgrove.errors import MissingExtraError, StoreError
from taskgrove.redaction import without_url_passwords

#: The environment variable that names the record where nothing else does.
DB_VARIABLE: Final = "TASKGROVE_DB"

_POSTGRES_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class Location:
    """Where a record is.

    Attributes:
        dialect: Which kind of database.
        file: The file, absolute; None for PostgreSQL.
        url: The URL, the password included.
        shown: The same for people: no password.
    """

    dialect: Literal["sqlite", "postgresql"]
    file: Path | None
    url: str
    shown: str


def default_file() -> Path:
    """Return the file of the record where nothing was said: in the user's data folder."""
    return user_folder("data") / "runs.db"


def user_folder(kind: Literal["data", "state"]) -> Path:
    """Return the user's folder for taskgrove's data or state, by the platform's convention.

    Raises:
        MissingExtraError: The extra ``store`` is not installed.
    """
    try:
        import platformdirs  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("store", "the record of runs") from exc
    if kind == "data":
        return platformdirs.user_data_path("taskgrove", appauthor=False)
    return platformdirs.user_state_path("taskgrove", appauthor=False)


def find_location(given: str | Path | None = None) -> Location:
    """Return where the record is.

    Args:
        given: A file, ``sqlite:///FILE`` or ``postgresql://…``; None takes ``TASKGROVE_DB``,
            and without it the file in the user's data folder.

    Raises:
        StoreError: It names no database that can be used.
    """
    if given is None or given == "":
        given = os.environ.get(DB_VARIABLE) or default_file()
    if isinstance(given, Path):
        return _of_file(given)
    scheme, mark, rest = given.partition("://")
    if not mark:
        return _of_file(Path(given))
    if scheme == "sqlite":
        # One slash more than a file's own path has: sqlite:///here.db, sqlite:////abs/here.db
        name = unquote(rest.partition("?")[0])
        if not name.startswith("/") or name == "/":
            raise StoreError(
                f"{given!r} names no file",
                location=given,
                hint="sqlite:///runs.db is a file here, sqlite:////data/runs.db an absolute one",
            )
        return _of_file(Path(name[1:]))
    if scheme in _POSTGRES_SCHEMES:
        url = f"postgresql://{_quoted_user(rest)}"
        return Location("postgresql", None, url, without_url_passwords(given))
    raise StoreError(
        f"{without_url_passwords(given)!r} names no database that a record can be kept in",
        location=without_url_passwords(given),
        hint="a file, sqlite:///FILE, or postgresql://USER@HOST/DATABASE",
    )


def _quoted_user(rest: str) -> str:
    """Return the text after ``://`` with user and password quoted: a password may hold @."""
    head, mark, query = rest.partition("?")
    user, at, host = head.rpartition("@")
    if at and not user.startswith("/"):
        name, colon, password = (quote(unquote(part), safe="") for part in user.partition(":"))
        head = f"{name}{':' if colon else ''}{password}@{host}"
    return f"{head}{mark}{query}"


def _of_file(file: Path) -> Location:
    if "\0" in str(file):
        raise StoreError("the name of the record's file holds a NUL", location=None)
    try:
        absolute = Path(os.path.abspath(file.expanduser()))
        os.fsencode(absolute).decode("utf-8")  # SQLite takes no other names
        os.lstat(absolute)
    except RuntimeError as exc:  # the home of an unknown user
        raise StoreError(f"{file} names no file: {exc}", location=str(file)) from exc
    except UnicodeDecodeError as exc:
        raise StoreError(
            f"the name of the record's file holds bytes that are not UTF-8: {str(file)!a}",
            location=None, hint=f"--db or {DB_VARIABLE} names another one",
        ) from exc  # fmt: skip
    except OSError as exc:  # all else is told when the file is opened
        if exc.errno == errno.ENAMETOOLONG:
            raise StoreError(
                f"the name of the record's file is too long: {str(file)[:40]}…",
                location=None, hint=f"--db or {DB_VARIABLE} names another one",
            ) from exc  # fmt: skip
    return Location("sqlite", absolute, f"sqlite:///{absolute}", str(absolute))
