"""``python -m benchmarks [tracker] [executor] [device] [imports]``: measure and report."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time

PARTS = (
    "imports",
    "tracker",
    "executor",
    "device",
    "fleet",
    "store",
    "history",
    "steering",
    "analysis",
    "page",
)


def main(arguments: list[str]) -> int:
    """Run the parts that were named, or all."""
    unknown = [name for name in arguments if name not in PARTS]
    if unknown:
        print(f"unknown part {unknown[0]!r}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores."
        " Ratios hold within this run only; times depend on the machine."
    )
    for name in arguments or PARTS:
        began = time.perf_counter()
        print(f"\n{name}", flush=True)
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            print(row.line(), flush=True)
        print(f"  ({time.perf_counter() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
