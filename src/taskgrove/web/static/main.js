// The page: which view the address means.

import { html, nothing, render } from "./vendor/lit-html.js";
import { PlotsView, PlotView } from "./plots_view.js";
import { RunView } from "./run_view.js";
import { RunsView } from "./runs_view.js";
import { StartView } from "./start_view.js";
import { read, shown, timeText, utcText } from "./words.js";

const page = document.getElementById("page");
let view = null;
let about = null;

function badge(live) {
  const told = live.badge();
  return html`<span class="badge ${told.kind}" role="status" aria-live="polite">${told.kind === "broken"
    ? html`not connected since <span title=${utcText(told.since)}>${timeText(told.since)}</span>${told.why ? html`: ${shown(told.why)}` : nothing}`
    : told.words}</span>`;
}

function visit(address) {
  history.pushState(null, "", address);
  show();
}

function go(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  visit(event.currentTarget.getAttribute("href"));
}

function show() {
  view?.close();
  const found = /^\/runs\/([^/]+)$/.exec(location.pathname);
  const plot = /^\/plots\/([^/]+)\/(\d+)$/.exec(location.pathname);
  view = found ? new RunView(page, about, decodeURIComponent(found[1]), badge, go, visit)
    : plot ? new PlotView(page, about, badge, go, decodeURIComponent(plot[1]), plot[2]).begin()
    : location.pathname === "/plots" ? new PlotsView(page, about, badge, go, visit).begin()
    : location.pathname === "/start" ? new StartView(page, about, badge, go, visit)
    : new RunsView(page, about, badge, go, visit);
}

async function begin() {
  try {
    about = await read("/api/about");
  } catch (error) {
    render(html`<h1>taskgrove</h1><p role="alert">${shown(error.message)}</p>`, page);
    setTimeout(begin, 2000);
    return;
  }
  show();
}

page.replaceChildren();
addEventListener("popstate", show);
begin();
