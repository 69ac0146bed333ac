"""Three analyses of a powder scan: a pattern for a facility's own, and the demonstration's chain.

``PyfaiIntegrate`` averages one frame over rings, ``FitRings`` refines the distance to the
detector from the rings of silver behenate, ``Summarise`` publishes a page. A simulated scan
(:mod:`taskgrove.analysis.powder.simulation`) writes a real HDF5 file whose distance is known.
They need the extra ``demo``: each process imports only what it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskgrove.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from taskgrove.analysis.powder.entries import ENTRIES as ENTRIES

# Not at import: the processes of the analyses do not need all entries.
_LATER = {"ENTRIES": "taskgrove.analysis.powder.entries"}

__getattr__, __dir__ = lazy_exports(globals(), _LATER, extra=("demo", "the powder analyses"))
