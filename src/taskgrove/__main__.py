"""The entry point of the command line: ``taskgrove`` and ``python -m taskgrove``."""

from __future__ import annotations

import contextlib
import sys

from taskgrove.cli.interrupts import Leaving, LikeCtrlC, SignalsTaken, end_with
from taskgrove.cli.surroundings import prepare_process

#: A package of the extra ``cli``.
_NEEDED = ("click",)


def main() -> None:
    """Run the command line, and exit with its code.

    Raises:
        SystemExit: Always; the codes are in ``taskgrove --help``.
    """
    leaving = Leaving()
    code: int | str | None = 5  # interrupted before there was anything to abort
    with SignalsTaken(LikeCtrlC(), LikeCtrlC.SIGNALS) as taken:
        try:
            _run()
        except KeyboardInterrupt:
            pass
        except SystemExit as exc:
            code = exc.code
        taken.keep()
    leaving.code = code if isinstance(code, int) else 0 if code is None else 1
    end_with(leaving.code)
    # After an interrupt inside code made from text, ``python -m`` exits with 130 otherwise.
    eval("0")  # noqa: S307 - a constant
    raise SystemExit(code)


def _run() -> None:
    prepare_process()
    try:
        from taskgrove.cli.app import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(
            f"taskgrove: the command line needs the extra 'cli' ({exc.name} is not installed): "
            "pip install 'taskgrove[cli]'\n"
        )
        raise SystemExit(2) from None
    from taskgrove.cli.terminal import flush_streams, silence  # noqa: PLC0415 - as above

    try:
        app(prog_name="taskgrove")
    except OSError as exc:  # of a help or a usage text: verbs report their own errors
        silence(sys.stdout)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"taskgrove: the output cannot be written: {exc.strerror}\n")
            sys.stderr.flush()
        raise SystemExit(2) from None
    finally:
        flush_streams()


if __name__ == "__main__":
    main()
