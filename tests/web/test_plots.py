"""Published plots: found by what the record says of them, and shown to whoever has their key."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from taskgrove.analysis.pages import PagePublisher
from taskgrove.analysis.results import ElogSummaryPlots
from taskgrove.web.page_keys import PageKeys
from tests.analysis import drawings
from tests.web.conftest import Site
from tests.web.page_process import Answer, ask
from tests.web.plots import recorded_plots

KEYS = PageKeys(b"k" * 32)
DOCUMENT = b"<!doctype html><title>x</title><p>mine"


@pytest.fixture
def plots(site: Site, tmp_path: Path) -> Path:
    """The root of the pages of two runs; the second has taken the place of ``scans/a``."""
    table = tmp_path / "peaks & more.csv"
    table.write_text("x,y\n1,2\n")
    recorded_plots(site.record, tmp_path, "first", {"scans/a": "the first"})
    figures = {
        "scans/a": {"fit": drawings.matplotlib_figure(), "peaks": table},
        "scans/b c": drawings.bokeh_plot(),
        "mine": DOCUMENT,
    }
    recorded_plots(site.record, tmp_path, "second", figures)
    return tmp_path / "pages"


def all_plots(site: Site, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get(f"/api/plots{query}").data["plots"]
    return found


def one(site: Site, run: str, name: str) -> dict[str, Any]:
    (row,) = [row for row in all_plots(site, f"?run={run}") if row["display_name"] == name]
    told: dict[str, Any] = site.get(f"/api/plots/{run}/{row['sequence']}").data
    return told


def open_address(site: Site, address: str, **headers: str) -> Answer:
    """Ask as a frame without an origin does: there is no cookie."""
    return ask(site.server.port, address, headers=headers)


# -- the data -----------------------------------------------------------------------------------


def test_plots_are_listed_the_newest_first(site: Site, plots: Path) -> None:
    found = all_plots(site)
    assert [(row["run_id"], row["tab"], row["name"]) for row in found] == [
        ("second", "", "mine"), ("second", "scans", "b c"), ("second", "scans", "a"),
        ("first", "scans", "a"),
    ]  # fmt: skip
    assert [row["kind"] for row in found] == ["HTML", "Bokeh", "image", ""]
    for row in found:
        assert row["is_kept"]
        assert (row["analysis"], row["experiment"], row["experiment_run"]) == (
            "fit-rings", "exp1", "12",
        )  # fmt: skip
        assert row["path"] == "root/fit"
    assert [bool(row["picture"]) for row in found] == [False, False, True, False]
    picture = open_address(site, found[2]["picture"])
    assert picture.status == 200
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in picture.headers["content-security-policy"]


@pytest.mark.usefixtures("plots")
def test_plots_are_chosen_by_run_and_by_name(site: Site) -> None:
    assert [row["run_id"] for row in all_plots(site, "?run=first")] == ["first"]
    assert [row["name"] for row in all_plots(site, "?name=SCANS/b")] == ["b c"]
    assert len(all_plots(site, "?name=Rings")) == 4
    for name in ("%25", "_", "!"):
        assert all_plots(site, f"?name={name}") == []
    told = site.get("/api/plots?limit=1").data
    assert (len(told["plots"]), told["has_more"]) == (1, True)
    assert site.get("/api/plots?run=none").status == 404
    assert "did you mean 'name'" in site.get("/api/plots?nam=x").data["hint"]
    for limit in ("0", "1001", "x", "-1", "1" * 5000):
        assert site.get(f"/api/plots?limit={limit}").status == 400
    assert site.get("/api/plots/first/999").status == 400
    assert site.get("/api/plots/none/1").status == 404


@pytest.mark.usefixtures("plots")
def test_one_plot_tells_where_it_comes_from(site: Site) -> None:
    told = one(site, "second", "scans/a")
    assert told["summary"] == "5 rings"
    assert told["parameters"] == {"distance": "0.1", "rings": "5"}
    assert [(it["tab"], it["name"]) for it in told["beside"]] == [
        ("scans", "a"), ("scans", "b c"), ("", "mine"),
    ]  # fmt: skip
    assert told["newer"] is None
    (file,) = told["files"]
    assert (file["name"], file["label"], file["size_bytes"]) == ("peaks & more.csv", "peaks", 8)
    answer = open_address(site, file["address"])
    assert answer.body == b"x,y\n1,2\n"
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''peaks%20%26%20more.csv"
    )
    assert answer.headers["content-length"] == "8"
    assert one(site, "first", "scans/a")["newer"]["run_id"] == "second"


@pytest.mark.usefixtures("plots")
def test_a_run_tells_how_many_plots_it_has(site: Site) -> None:
    assert site.get("/api/runs/second/rows").data["head"]["plots"] == 3
    assert site.get("/api/runs/good/rows").data["head"]["plots"] == 0


# -- what the frame gets ------------------------------------------------------------------------


def test_the_frame_shows_the_page_and_the_scripts_that_it_shares(site: Site, plots: Path) -> None:
    frame = one(site, "second", "scans/b c")["frame"]
    page = open_address(site, frame, Origin="null")
    assert page.body == (plots / "scans" / "b c" / "report.html").read_bytes()
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts allow-downloads; default-src 'none'")
    assert "allow-same-origin" not in policy
    own = f"127.0.0.1:{site.server.port}/shown/{frame.split('/')[2]}/"
    assert f"; connect-src {own} data: blob:;" in policy
    assert "frame-ancestors 'self'" in policy
    assert page.headers["x-frame-options"] == "SAMEORIGIN"
    (script,) = re.findall(r' src="\.\./\.\./(_taskgrove/assets/[^"]+)"', page.body.decode())
    found = open_address(site, frame.partition("/scans")[0] + "/" + script)
    assert found.headers["content-type"].startswith("text/javascript")
    assert found.headers["cross-origin-resource-policy"] == "cross-origin"
    assert len(found.body) > 100_000


def test_the_version_that_a_run_published_is_shown(site: Site, plots: Path) -> None:
    told = one(site, "first", "scans/a")
    assert b"the first" in open_address(site, told["frame"]).body
    assert b"the first" not in open_address(site, one(site, "second", "scans/a")["frame"]).body
    for file in (plots / "scans" / "a").glob("report-*.html"):
        file.unlink()
    assert open_address(site, told["frame"]).status == 404
    told = one(site, "first", "scans/a")
    assert (told["plot"]["is_kept"], told["frame"]) == (False, "")


def test_a_page_whose_record_is_gone_is_still_found(site: Site, plots: Path) -> None:
    (plots / "mine" / "page.json").unlink()
    assert open_address(site, one(site, "second", "mine")["frame"]).body == DOCUMENT


# -- what nobody gets ---------------------------------------------------------------------------


@pytest.mark.usefixtures("plots")
def test_nothing_is_shown_without_a_good_key(site: Site) -> None:
    frame = one(site, "second", "mine")["frame"]
    key = frame.split("/")[2]
    for other in ("x", key[:-2], key + "AA", PageKeys(b"x" * 32).key_of("second", 8)):
        assert open_address(site, frame.replace(key, other)).status == 403
    assert open_address(site, frame, Host="evil.example").status == 403
    assert open_address(site, "/shown/").status in (403, 404)
    assert ask(site.server.port, frame, data={}).status in (403, 405)
    assert open_address(site, f"/shown/{KEYS.key_of('none', 1)}/mine/report.html").status == 404
    for path in ("/plots", "/api/plots", f"/plots/second/8{frame}", "/api/plots/second/8"):
        assert open_address(site, path).status == 403


def test_a_key_opens_its_page_only(site: Site, plots: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.html").write_text("secret")
    (plots / "_taskgrove" / "assets" / "a_link.js").symlink_to(tmp_path / "secret.html")
    (plots / "mine" / "_taskgrove").mkdir()
    (plots / "mine" / "_taskgrove" / ("0" * 16 + ".png")).symlink_to(tmp_path / "secret.html")
    start = one(site, "second", "mine")["frame"].removesuffix("mine/report.html")
    lock, index = "_taskgrove/lock", "index.html"
    for path in (
        "", "mine", "mine/", "mine/page.json", "mine/../../secret.html", index, lock,
        "../secret.html", "%2e%2e/secret.html", "mine/%2e%2e/%2e%2e/secret.html",
        "..%2fsecret.html", "mine/..%2f..%2fsecret.html", "/etc/passwd", "%2fetc%2fpasswd",
        "scans/a/report.html", "scans/b%20c/report.html", "_taskgrove/assets/../lock",
        "_taskgrove/assets/..%2flock", "_taskgrove/assets/a_link.js", "_taskgrove/assets/",
        "mine/_taskgrove/0000000000000000.png", "mine/_taskgrove/../../secret.html",
        "mine/_taskgrove/0000000000000000/..", "mine/report.html%00", "mine/report.html/x",
        "mine//report.html", "mine/%ff",
    ):  # fmt: skip
        answer = open_address(site, start + path)
        assert answer.status == 404, path
        assert b"secret" not in answer.body


def test_links_and_changed_files_are_not_shown(site: Site, plots: Path, tmp_path: Path) -> None:
    told = one(site, "second", "mine")
    page = plots / "mine" / "report.html"
    page.rename(tmp_path / "elsewhere.html")
    page.symlink_to(tmp_path / "elsewhere.html")
    assert open_address(site, told["frame"]).status == 404
    assert not one(site, "second", "mine")["plot"]["is_kept"]
    page.unlink()
    os.mkfifo(page)
    assert open_address(site, told["frame"]).status == 404
    page.unlink()
    page.write_bytes(DOCUMENT + b"changed")
    assert open_address(site, told["frame"]).status == 404
    page.unlink()
    page.parent.joinpath("page.json").unlink()
    page.parent.rmdir()
    page.parent.symlink_to(plots / "scans")
    assert open_address(site, told["frame"]).status == 404


def test_the_root_of_the_pages_may_be_a_link(site: Site, plots: Path, tmp_path: Path) -> None:
    plots.rename(tmp_path / "disk")
    plots.symlink_to(tmp_path / "disk")
    assert open_address(site, one(site, "second", "mine")["frame"]).body == DOCUMENT


@pytest.mark.parametrize("file", ["/etc/passwd", "mine/report.html", "/x/other/report.html", ""])
def test_a_record_shows_no_file_that_is_no_page(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    from taskgrove.analysis import pages
    from taskgrove.events import PageDetail

    def lie(page: pages.PublishedPage) -> PageDetail:
        return PageDetail(page.display_name, file, page.size_bytes, page.sha256)

    monkeypatch.chdir(tmp_path / "pages" if (tmp_path / "pages").is_dir() else tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pages.PublishedPage, "detail", lie)
        recorded_plots(site.record, tmp_path, "liar", {"mine": DOCUMENT})
    told = one(site, "liar", "mine")
    assert not told["plot"]["is_kept"]
    key = KEYS.key_of("liar", told["plot"]["sequence"])
    assert open_address(site, f"/shown/{key}/mine/report.html").status == 404


def test_a_file_that_no_record_names_is_not_given(site: Site, plots: Path) -> None:
    told = one(site, "second", "scans/a")
    place = next((plots / "scans" / "a" / "_taskgrove").glob("*/"))
    (place / "other.csv").write_text("secret")
    address = told["files"][0]["address"].rpartition("/")[0]
    assert open_address(site, f"{address}/other.csv").status == 404
    record = plots / "scans" / "a" / "page.json"
    content = json.loads(record.read_text())
    content["files"][0]["name"] = "../../../../secret"
    record.write_text(json.dumps(content))
    assert one(site, "second", "scans/a")["files"] == []


def test_versions_that_are_published_meanwhile_are_found(site: Site, plots: Path) -> None:
    frame = one(site, "second", "mine")["frame"]
    PagePublisher(plots).publish(ElogSummaryPlots("mine", "a newer one"))
    assert open_address(site, frame).body == DOCUMENT  # its name is another one now
    assert open_address(site, one(site, "second", "mine")["frame"]).body == DOCUMENT
