"""Pages are published under their root, whole or not at all, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from taskgrove.analysis.pages import PagePublisher, PublishedPage
from taskgrove.analysis.publishing.page_folder import STALE_S, Folder
from taskgrove.analysis.publishing.page_index import Index
from taskgrove.analysis.publishing.page_names import VERSION, page_parts
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.errors import AnalysisError, UsageError
from taskgrove.testing import ManualClock
from tests.analysis import drawings

ORIGIN = PageOrigin("run-7", "configure/fit", "fit-rings", 1, "exp1", 12)
LIMIT_S = 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "stats" / "summary"


def document(text: str) -> bytes:
    return f"<!doctype html><title>x</title><p>{text}</p>".encode()


def plots(name: str, text: str = "words") -> ElogSummaryPlots:
    return ElogSummaryPlots(name, document(text))


def unchecked(name: str) -> ElogSummaryPlots:
    """Plots whose name was changed after it was checked: the class is not frozen."""
    made = plots("x")
    made.display_name = name
    return made


def versions(root: Path, name: str) -> list[Path]:
    return sorted(path for path in (root / name).iterdir() if VERSION.fullmatch(path.name))


def index_of(root: Path) -> Index:
    return msgspec.json.decode((root / "index.json").read_bytes(), type=Index)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# -- one page -----------------------------------------------------------------------------------


def test_a_page_lies_where_its_display_name_says(root: Path) -> None:
    page = PagePublisher(root).publish(plots("scans/my_motor_scan"), origin=ORIGIN)
    file = root / "scans" / "my_motor_scan" / "report.html"
    assert file.read_bytes() == document("words")
    assert page == PublishedPage(
        display_name="scans/my_motor_scan",
        file=file,
        size_bytes=len(document("words")),
        sha256=page.sha256,
        published_ns=page.published_ns,
        origin=ORIGIN,
    )
    record = json.loads((file.parent / "page.json").read_text())
    assert record["sha256"] == page.sha256
    assert record["origin"] == msgspec.to_builtins(ORIGIN)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~current_umask()
    assert page.detail().file == str(file)
    assert page.reference() == {
        "page": "scans/my_motor_scan",
        "file": str(file),
        "size_bytes": page.size_bytes,
        "sha256": page.sha256,
    }


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_figures_that_nobody_converted_are_converted(root: Path) -> None:
    page = PagePublisher(root).publish(ElogSummaryPlots("a", drawings.matplotlib_figure()))
    assert b"image/svg+xml" in page.file.read_bytes()
    assert page.origin is None


def test_a_page_may_stand_beside_its_own_subpages(root: Path) -> None:
    publisher = PagePublisher(root)
    for name in ("a/b/c", "a", "a/b", "a"):
        publisher.publish(plots(name, name))
    assert {page.display_name for page in index_of(root).pages} == {"a", "a/b", "a/b/c"}
    for name in ("a", "a/b", "a/b/c"):
        assert (root / name / "report.html").read_bytes() == document(name)


@pytest.mark.parametrize(
    "name", ["report.html", "a/report.html", "page.json", "index.html", "a/index.json",
             "_taskgrove", "_taskgrove/assets", "a/report-20260101T000000.000000Z.html",
             "a/.taskgrove-0123456789abcdef.tmp"],
)  # fmt: skip
def test_names_of_our_own_files_cannot_be_pages(root: Path, name: str) -> None:
    with pytest.raises(AnalysisError, match="is the name of a file of the pages"):
        PagePublisher(root).publish(plots(name))
    assert not root.exists()


def test_wrong_numbers_are_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="not negative"):
        PagePublisher(root, keep_versions=-1)
    with pytest.raises(UsageError, match="not negative"):
        PagePublisher(root, lock_timeout_s=float("nan"))


# -- below the root (W5) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "..", ".", "a/./b", "", "a//b", "a/", "a\0b",
             "a\nb", "x" * 256, "\ud800", "/".join(["d" * 200] * 30)],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(root: Path, tmp_path: Path, name: str) -> None:
    before = files(tmp_path)
    with pytest.raises(ValueError, match="is not a display name"):
        ElogSummaryPlots(name, "x")
    with pytest.raises(AnalysisError, match="is not a display name"):
        PagePublisher(root).publish(unchecked(name))
    assert files(tmp_path) == before


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", ["link", "link/page", "a/link/page"])
def test_a_link_below_the_root_is_never_followed(
    root: Path, tmp_path: Path, name: str, inside: bool
) -> None:
    target = root / "real" if inside else tmp_path / "outside"
    target.mkdir(parents=True)
    at = root / name.partition("link")[0] / "link"
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(target, target_is_directory=True)
    with pytest.raises(AnalysisError, match="a link or a file is there"):
        PagePublisher(root).publish(plots(name))
    assert files(target) == set()


def test_links_in_place_of_our_files_are_replaced_and_not_followed(
    root: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (root / "a").mkdir(parents=True)
    for name in ("a/report.html", "a/page.json", "index.html", "index.json"):
        (root / name).symlink_to(victim)
    page = PagePublisher(root).publish(plots("a"))
    assert page.index_trouble is None
    assert page.former is None
    assert victim.read_bytes() == b"precious"
    assert files(root) >= {"a/report.html", "a/page.json", "index.html", "index.json"}
    assert not any(path.is_symlink() for path in root.rglob("*"))


@pytest.mark.parametrize("name", ["_taskgrove", "_taskgrove/lock", "_taskgrove/assets"])
def test_links_in_place_of_our_folders_are_refused(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    at = root / name
    at.parent.mkdir(parents=True)
    at.symlink_to(tmp_path / "outside")
    publisher = PagePublisher(root)
    try:
        page = publisher.publish(plots("a"))
    except AnalysisError:
        pass
    else:
        assert page.index_trouble is not None
    assert files(tmp_path / "outside") == set()


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root.parent.mkdir(parents=True)
    root.symlink_to(tmp_path / "disk")
    page = PagePublisher(root).publish(plots("a"))
    assert page.file == tmp_path / "disk" / "a" / "report.html"


def test_a_file_in_the_way_is_told(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "a").write_text("x")
    with pytest.raises(AnalysisError, match="a link or a file is there"):
        PagePublisher(root).publish(plots("a/b"))
    (root / "b" / "report.html").mkdir(parents=True)
    with pytest.raises(AnalysisError, match="b cannot be written below"):
        PagePublisher(root).publish(plots("b"))
    assert files(root / "b") == set()


_PIECES = st.one_of(
    st.sampled_from(["..", ".", "", "a", "b c", "report.html", "~", "-", "C:", "%2e%2e", "..."]),
    st.text(max_size=8),
)


@example(["..", "x"])
@example(["a" * 255])
@given(st.lists(_PIECES, min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leaves_the_root(tmp_path: Path, pieces: list[str]) -> None:
    name = "/".join(pieces)
    root = tmp_path / "root"
    try:
        parts = page_parts(name)
    except ValueError:
        with pytest.raises(AnalysisError):
            PagePublisher(root).publish(unchecked(name))
    else:
        assert "/".join(parts) == name
        with Folder.root(root) as folder, folder.enter(*parts) as page:
            real = Path(os.readlink(f"/proc/self/fd/{page.fd}"))
            assert real == page.path
            assert real.is_relative_to(root.resolve())
            assert real != root.resolve()
    assert {path.name for path in tmp_path.iterdir()} <= {"root"}


# -- again and again ----------------------------------------------------------------------------


def test_republishing_replaces_and_keeps_the_former_versions(root: Path) -> None:
    clock = ManualClock()
    publisher = PagePublisher(root, keep_versions=3, clock=clock)
    pages = []
    for number in range(6):
        origin = PageOrigin(f"run-{number}")
        pages.append(publisher.publish(plots("a", str(number)), origin=origin))
        clock.advance(60)
    assert (root / "a" / "report.html").read_bytes() == document("5")
    kept = versions(root, "a")
    assert [path.read_bytes() for path in kept] == [document(text) for text in "234"]
    assert pages[-1].former == kept[-1]
    (entry,) = index_of(root).pages
    assert [version.file for version in entry.versions] == [path.name for path in reversed(kept)]
    told = [version.origin.run_id for version in entry.versions if version.origin is not None]
    assert told == ["run-4", "run-3", "run-2"]
    PagePublisher(root, keep_versions=0, clock=clock).publish(plots("a", "6"))
    assert versions(root, "a") == []


def test_versions_of_one_instant_are_all_kept(root: Path) -> None:
    publisher = PagePublisher(root, clock=ManualClock())
    for number in range(4):
        publisher.publish(plots("a", str(number)))
    assert {path.read_bytes() for path in versions(root, "a")} == {document(n) for n in "012"}


def test_a_page_that_somebody_else_wrote_is_kept_too(root: Path) -> None:
    (root / "a").mkdir(parents=True)
    (root / "a" / "report.html").write_bytes(b"by hand")
    page = PagePublisher(root).publish(plots("a"), origin=ORIGIN)
    assert page.former is not None
    assert page.former.read_bytes() == b"by hand"
    (entry,) = index_of(root).pages
    assert entry.versions[0].origin is None


def test_a_file_system_without_links_gets_copies(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    publisher = PagePublisher(root)
    publisher.publish(plots("a", "first"))
    monkeypatch.setattr(os, "link", refuse)
    page = publisher.publish(plots("a", "second"))
    assert page.former is not None
    assert page.former.read_bytes() == document("first")


def test_a_writer_killed_after_it_kept_the_former_version_keeps_it_once(root: Path) -> None:
    publisher = PagePublisher(root)
    page = publisher.publish(plots("a", "first"))
    stamp = publisher.publish(plots("a", "second")).former
    assert stamp is not None
    second = index_of(root).pages[0]
    # Killed between the link and the new page's name:
    name = re.sub(r"report-.*", "", str(stamp))
    from taskgrove.analysis.publishing.page_names import version_file

    os.link(page.file, name + version_file(second.published_ns))
    publisher.publish(plots("a", "third"))
    texts = [path.read_bytes() for path in versions(root, "a")]
    assert texts == [document("first"), document("second")]


def test_what_a_killed_writer_left_is_swept_away_when_it_is_old(root: Path) -> None:
    publisher = PagePublisher(root)
    folder = publisher.publish(plots("a")).file.parent
    old, young = (folder / f".taskgrove-{digit * 16}.tmp" for digit in "01")
    for path in (old, young):
        path.write_bytes(b"half")
    past = time.time() - STALE_S - 10
    os.utime(old, (past, past))
    publisher.publish(plots("a"))
    assert (old.exists(), young.exists()) == (False, True)


# -- what fails leaves what was there (W6) ------------------------------------------------------


def test_figures_that_cannot_be_drawn_leave_the_former_page(root: Path) -> None:
    publisher = PagePublisher(root)
    publisher.publish(plots("a", "good"))
    before = files(root)
    with pytest.raises(AnalysisError, match="object cannot be drawn on a page"):
        publisher.publish(ElogSummaryPlots("a", object()))
    assert files(root) == before
    assert (root / "a" / "report.html").read_bytes() == document("good")


@pytest.mark.parametrize("failing", ["fsync", "rename", "link"])
def test_a_disk_that_fails_leaves_the_former_page(
    root: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    publisher = PagePublisher(root)
    publisher.publish(plots("a", "good"))
    before = files(root)

    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(AnalysisError, match="No space left on device") as told:
            publisher.publish(plots("a", "new"))
    assert "the pages that were published before are unchanged" in str(told.value)
    assert (root / "a" / "report.html").read_bytes() == document("good")
    assert {name for name in files(root) if "report-" not in name} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root and a kernel that lets it mount a small disk (tmpfs)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root
def test_a_full_disk_leaves_the_former_page(small_disk: Path) -> None:
    publisher = PagePublisher(small_disk)
    publisher.publish(plots("a", "good"))
    before = files(small_disk)
    with pytest.raises(AnalysisError, match="No space left on device"):
        publisher.publish(plots("a", "x" * 400_000))
    assert files(small_disk) == before
    assert (small_disk / "a" / "report.html").read_bytes() == document("good")
    # The page fits and the index does not: the page is published, and the index is told of.
    (small_disk / "filler").write_bytes(b"x" * 200_000)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    page = publisher.publish(plots("a", "y" * (free - 100)))
    assert "No space left on device" in str(page.index_trouble)
    assert page.file.read_bytes() == document("y" * (free - 100))
    (small_disk / "filler").unlink()
    again = publisher.publish(plots("b"))
    assert again.index_trouble is None
    publisher.rebuild_index()
    (a, _) = index_of(small_disk).pages
    assert a.size_bytes == page.size_bytes


def test_a_folder_that_may_not_be_written_is_told(root: Path) -> None:
    file = root.parent
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("in the way")
    with pytest.raises(AnalysisError, match="cannot be written below"):
        PagePublisher(root).publish(plots("a"))


# -- many writers -------------------------------------------------------------------------------

_WRITER = """
import sys
from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.results import ElogSummaryPlots
root, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
publisher = PagePublisher(root, keep_versions=1000)
sys.stdin.readline()
for number in range(count):
    text = f"<!doctype html>{who}-{number}".encode()
    assert publisher.publish(ElogSummaryPlots("same", text)).index_trouble is None
    publisher.publish(ElogSummaryPlots(f"own/{who}-{number}", text))
"""


def test_many_processes_lose_nothing(root: Path) -> None:
    count, names = 6, ("a", "b", "c", "d")
    command = [sys.executable, "-c", _WRITER, str(root)]
    writers = [
        subprocess.Popen([*command, name, str(count)], stdin=subprocess.PIPE, text=True)
        for name in names
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=LIMIT_S)
        assert writer.returncode == 0
    everything = {f"<!doctype html>{name}-{n}" for name in names for n in range(count)}
    paths = [root / "same" / "report.html", *versions(root, "same")]
    assert [path.read_text() for path in paths].count(paths[0].read_text()) == 1
    assert {path.read_text() for path in paths} == everything
    index = {page.display_name: page for page in index_of(root).pages}
    assert set(index) == {"same", *(f"own/{name}-{n}" for name in names for n in range(count))}
    assert len(index["same"].versions) == len(everything) - 1
    assert not [name for name in files(root) if name.endswith(".tmp")]


def test_a_killed_writer_leaves_whole_pages_and_no_lock(root: Path) -> None:
    publisher = PagePublisher(root, keep_versions=1000, lock_timeout_s=LIMIT_S)
    publisher.publish(ElogSummaryPlots("same", b"<!doctype html>me-0"))
    command = [sys.executable, "-c", _WRITER, str(root), "them", "100000"]
    known = 0
    for _ in range(2):
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as writer:
            try:
                assert writer.stdin is not None
                writer.stdin.write("go\n")
                writer.stdin.flush()
                deadline = time.monotonic() + LIMIT_S
                while len(versions(root, "same")) < known + 5:
                    assert time.monotonic() < deadline
            finally:
                writer.kill()
        for page in (root / "same" / "report.html", *versions(root, "same")):
            assert re.fullmatch(r"<!doctype html>\w+-\d+", page.read_text())
        again = publisher.publish(ElogSummaryPlots("same", b"<!doctype html>me-1"))
        assert again.index_trouble is None
        known = len(versions(root, "same"))
    index = publisher.rebuild_index()
    assert {page.display_name for page in index.pages} >= {"same", "own/them-0"}


def test_readers_see_whole_pages_only(root: Path) -> None:
    publisher = PagePublisher(root, keep_versions=2)
    pages = [document(digit * 300_000) for digit in "01"]
    publisher.publish(ElogSummaryPlots("a", pages[0]))
    stop, torn = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            if (content := (root / "a" / "report.html").read_bytes()) not in pages:
                torn.append(len(content))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(30):
            publisher.publish(ElogSummaryPlots("a", pages[number % 2]))
    finally:
        stop.set()
        reader.join(LIMIT_S)
    assert torn == []


def test_a_writer_that_waits_too_long_says_for_whom(root: Path) -> None:
    PagePublisher(root).publish(plots("a", "good"))
    with Folder.root(root) as folder, folder.enter("_taskgrove") as own, own.locked("lock", 1.0):
        words = r"another writer has held .*_taskgrove/lock for 0.05 s"
        with pytest.raises(AnalysisError, match=words):
            PagePublisher(root, lock_timeout_s=0.05).publish(plots("a", "new"))
    assert (root / "a" / "report.html").read_bytes() == document("good")
    assert not [name for name in files(root) if name.endswith(".tmp")]
    PagePublisher(root, lock_timeout_s=0).publish(plots("a", "new"))


# -- payloads -----------------------------------------------------------------------------------


def test_a_payload_gets_references_in_place_of_its_plots(root: Path) -> None:
    payload = {"rings": [1, 2], "plots": [plots("a"), unchecked("../b"), plots("c")]}
    published = PagePublisher(root).publish_payload(payload, origin=ORIGIN)
    assert [page.display_name for page in published.pages] == ["a", "c"]
    first, second, third = published.payload["plots"]
    assert first == published.pages[0].reference()
    assert third == published.pages[1].reference()
    assert second["page"] == "../b"
    assert "is not a display name" in second["error"]
    assert published.problems == (second["error"],)
    assert published.payload["rings"] is payload["rings"]
    json.dumps(published.payload)


def test_a_payload_that_is_plots_becomes_one_reference(root: Path) -> None:
    published = PagePublisher(root).publish_payload(plots("a"))
    assert published.payload == published.pages[0].reference()


@pytest.mark.parametrize("figures", [document("words"), "words"])
def test_plots_that_a_payload_holds_twice_are_published_once(
    root: Path, figures: str | bytes
) -> None:
    twice = [ElogSummaryPlots("a", figures), ElogSummaryPlots("a", figures)]
    published = PagePublisher(root).publish_payload(twice)
    (page,) = published.pages
    assert published.payload == [page.reference()] * 2
    assert versions(root, "a") == []


# -- shared scripts -----------------------------------------------------------------------------


def test_large_scripts_are_kept_once_for_all_pages(root: Path) -> None:
    publisher = PagePublisher(root)
    figure = drawings.bokeh_plot()
    pages = [publisher.publish(ElogSummaryPlots(name, figure)) for name in ("a", "deep/er/b")]
    (script,) = (root / "_taskgrove" / "assets").glob("bokeh-*.js")
    for page, way in zip(pages, ("../", "../../../"), strict=True):
        content = page.file.read_text()
        (source,) = re.findall(r'<script charset="utf-8" src="([^"]+)">', content)
        assert source == f"{way}_taskgrove/assets/{script.name}"
        assert (page.file.parent / source).resolve() == script
        assert page.size_bytes < 100_000
    former = publisher.publish(ElogSummaryPlots("a", "new")).former
    assert former is not None
    assert f'src="../_taskgrove/assets/{script.name}"' in former.read_text()


def test_a_page_can_keep_its_scripts(root: Path) -> None:
    publisher = PagePublisher(root, share_scripts=False)
    page = publisher.publish(ElogSummaryPlots("a", drawings.bokeh_plot()))
    assert page.size_bytes > 1_000_000
    assert b" src=" not in page.file.read_bytes().split(b"</head>")[0]


def test_a_spoilt_script_is_mended_and_none_is_taken_for_another(root: Path) -> None:
    publisher = PagePublisher(root)
    big = "x" * 40_000

    def page(text: str) -> Any:
        script = f'<!doctype html><script data-taskgrove-asset="lib-1">{text}</script>'
        return ElogSummaryPlots("a", script.encode())

    publisher.publish(page(big))
    (script,) = (root / "_taskgrove" / "assets").glob("lib-1-*.js")
    publisher.publish(page(big + "evil"))
    assert script.read_text() == big
    script.write_text(big[:100])
    publisher.publish(page(big))
    assert script.read_text() == big
    assert len(list((root / "_taskgrove" / "assets").glob("lib-1-*.js"))) == 2


def test_a_label_of_a_script_leads_nowhere(root: Path) -> None:
    script = f'<!doctype html><script data-taskgrove-asset="../../x">{"x" * 40_000}</script>'
    page = PagePublisher(root).publish(ElogSummaryPlots("a", script.encode()))
    assert page.file.read_bytes() == script.encode()
    assert files(root) == {
        "a/report.html", "a/page.json", "index.html", "index.json", "_taskgrove/lock",
        *(name for name in files(root) if name.endswith(".css")),
    }  # fmt: skip
