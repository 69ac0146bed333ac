"""Where results of earlier analyses come from: a small protocol that a record implements."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class EarlierResults(Protocol):
    """Finds values of earlier analyses."""

    def __call__(self, experiment: str, run: str, task: str, key: str) -> Any:
        """Return a value of the latest completed run of an analysis.

        Args:
            experiment: The experiment.
            run: The run of data acquisition, as text.
            task: The name of the analysis.
            key: ``payload`` or ``summary``, or a key inside the payload (``payload.rings.0``);
                else the name of a parameter of that run (``out_file``), keys inside it after dots.

        Raises:
            LookupError: There is none; the text lists the values that are there.
        """
