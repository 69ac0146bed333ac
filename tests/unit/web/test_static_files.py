"""The files of the page: whole, small, and nothing of others without its licence."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import taskgrove.web
from taskgrove.web.static_files import FILES, page_file

STATIC = Path(taskgrove.web.__file__).parent / "static"
#: lit-html 3.3.3 as the package registry has it: `npm pack lit-html@3.3.3`.
LIT_HTML = "b878e7f95dec8a9b6e9b217faca6b6a11bad82ebc44c0caa77419ed83edd81f2"
#: What all files together may weigh, in bytes, compressed.
WEIGHT = 60_000


def test_every_file_is_served_and_nothing_else_is_there() -> None:
    there = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}
    assert there - {"vendor/LICENSE"} == set(FILES)
    for name in FILES:
        found = page_file(name)
        assert found is not None
        assert found[0]


def test_other_names_are_no_files() -> None:
    for name in ("", "../entrance.py", "vendor/LICENSE", "/etc/passwd", "main.js/"):
        assert page_file(name) is None


def test_the_library_is_what_its_makers_published() -> None:
    found = page_file("vendor/lit-html.js")
    assert found is not None
    assert hashlib.sha256(found[0]).hexdigest() == LIT_HTML
    assert "BSD 3-Clause" in (STATIC / "vendor" / "LICENSE").read_text("utf-8")


def test_scripts_import_only_files_of_the_page() -> None:
    for name in FILES:
        if name.endswith(".js") and not name.startswith("vendor/"):
            text = (STATIC / name).read_text("utf-8")
            for target in re.findall(r"from \"([^\"]+)\"", text):
                assert target.removeprefix("./") in FILES, (name, target)
            assert "http" not in text.replace("http-equiv", ""), name
            assert "innerHTML" not in text, name
            assert "unsafe" not in text, name


def test_a_browser_asks_for_all_scripts_at_once() -> None:
    text = (STATIC / "index.html").read_text("utf-8")
    asked = set(re.findall(r"(?:href|src)=\"/static/([^\"]+\.js)\"", text))
    assert asked == {name for name in FILES if name.endswith(".js")}


def test_the_page_is_light() -> None:
    weight = sum(len(gzip.compress((STATIC / name).read_bytes())) for name in FILES)
    assert weight < WEIGHT
