"""A pytest plugin that names a failed test when it fails, where a run side by side prints an F.

The summary tells everything at the end, but a run that is ended from outside has none, and a
test that hangs takes its worker with it; which test it was must be in the output all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest


class _Teller:
    """Writes one line a failure, with the first line of its reason."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Iterator[None]:
        result = yield
        if report.failed:  # the text of a lost worker is one line
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = str(report.longrepr) if crash is None else crash.message
            phase = f" ({report.when})" if report.when in ("setup", "teardown") else ""
            first = next(iter(reason.splitlines()), "")
            self._terminal.write_line(f"\nFAILED {report.nodeid}{phase} - {first}")
        return result


@pytest.hookimpl(trylast=True)  # the terminal is configured first
def pytest_configure(config: pytest.Config) -> None:
    """Tell where there is a terminal for it: in the controller of a run side by side."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("numprocesses", None) and terminal is not None:
        config.pluginmanager.register(_Teller(terminal))
