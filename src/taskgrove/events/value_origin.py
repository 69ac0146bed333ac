"""Where a parameter of an analysis came from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from taskgrove.events.cause import Place

#: ``section``: the section of the analysis; ``variable``: another place of the configuration;
#: ``header``: its header; ``given``: instead of the text (``--set``, ``--work-dir``, ``argin`` or
#: ``each`` of a map); ``environment``: a variable of the environment; ``earlier``: the result of
#: an earlier run; ``default``: the default of the model; ``entry``: the entry of the analysis.
OriginKind: TypeAlias = Literal[
    "section", "variable", "header", "given", "environment", "earlier", "default", "entry"
]


class ValueOrigin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a value came from.

    Attributes:
        name: The parameter; of a value that a placeholder stands for, the placeholder.
        kind: Where it came from.
        value: The value, as a short text, secrets redacted.
        place: Where it is written, or None.
        written: The text that was written, where it holds placeholders.
        run: The run that gave it, where that is an earlier one and known.
        used: The values that its placeholders stood for.
    """

    name: str
    kind: OriginKind
    value: str = ""
    place: Place | None = None
    written: str = ""
    run: str | None = None
    used: tuple[ValueOrigin, ...] = ()
