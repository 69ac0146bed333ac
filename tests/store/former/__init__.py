"""Records that former versions left, and what made them; see ``make.py``."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

from tests.store.postgres_server import programs

HERE = Path(__file__).parent

#: Command and outcome of each run of the record, oldest first.
RUNS = """
good ok, half degraded, raises failed, hostile failed, guarded rejected, secret ok, late failed,
long aborted, bad failed, bad ok, bad failed, bad failed, reduce failed, draw-frames failed,
reduce ok, draw-frames ok, configure ok, configure ok, configure degraded, configure degraded,
configure failed, strict rejected, scan aborted, scan ok, scan lost, long failed, waits lost,
long lost
"""


def lay_out(url: str, version: int) -> None:
    """Put the record of a former version where ``url`` says: a new file or database."""
    if "://" not in url:
        Path(url).write_bytes(gzip.decompress((HERE / f"version-{version}.db.gz").read_bytes()))
        return
    folder = programs()
    assert folder is not None
    words = [folder / "psql", "-q", "-v", "ON_ERROR_STOP=1", url]
    dump = gzip.decompress((HERE / f"version-{version}.sql.gz").read_bytes())
    done = subprocess.run(words, input=dump, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def lay_out_site(folder: Path) -> None:
    """Put the map, and what it needs to be run, into a folder."""
    shutil.copytree(HERE / "site", folder, dirs_exist_ok=True)
