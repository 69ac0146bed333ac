"""What a person does with the page in a browser, and sees of it.

Pictures of the page are kept in the folder that ``PAGE_PICTURES`` names, to be looked at.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.analysis.chromium import Chromium, Page

_PICTURES = os.environ.get("PAGE_PICTURES", "")
#: Every line of the tree, read by scrolling through it; and the most that were there at once.
READ_ALL = """
(async () => {
  const box = document.querySelector('.tree');
  const states = {};
  let most = 0;
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  box.scrollTop = 0;
  for (let before = -1; box.scrollTop !== before;) {
    await frame();
    const lines = [...document.querySelectorAll('.line')];
    most = Math.max(most, lines.length);
    for (const line of lines) states[line.dataset.path] = line.dataset.state;
    before = box.scrollTop;
    box.scrollTop = before + box.clientHeight;
    if (box.scrollTop === before) break;
    before = -1;
  }
  return {states, most};
})()
"""


def open_page(chromium: Chromium, opened: list[Page], link: str, port: int) -> Page:
    """Open the page by its link, and wait until it shows the runs."""
    page = chromium.open(link)
    opened.append(page)
    shown = "location.pathname === '/' && document.querySelector('main table, main .filter + p')"
    page.wait_for(shown)
    page.requests[:] = [url for url in page.requests if f"//127.0.0.1:{port}/" not in url]
    return page


def keep_picture(page: Page, name: str) -> None:
    if _PICTURES:
        (Path(_PICTURES) / f"{name}.png").write_bytes(page.picture())


def go(page: Page, run_id: str) -> None:
    page.wait_for(f"document.querySelector('[data-run={json.dumps(run_id)}] a')")
    page.evaluate(f"document.querySelector('[data-run={json.dumps(run_id)}] a').click()")
    page.wait_for("document.querySelector('.line') && document.querySelector('#why')")


def state_of(page: Page, path: str) -> str:
    return f"document.querySelector('[data-path={json.dumps(path)}]')?.dataset.state"
