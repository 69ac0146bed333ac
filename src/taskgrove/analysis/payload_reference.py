"""The reference that replaces a large payload: its file, size and hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing import TypeAlias

PayloadKind: TypeAlias = Literal["npy", "json", "bytes"]


@dataclass(frozen=True)
class PayloadReference:
    """A payload, or a part of one, that is kept in a file.

    Attributes:
        path: The file, an absolute path.
        size_bytes: The size of the file.
        sha256: The hash of its content, in hex.
        kind: How it is kept: an array as ``.npy``, bytes as they are, all else as JSON.
    """

    path: str
    size_bytes: int
    sha256: str
    kind: PayloadKind
