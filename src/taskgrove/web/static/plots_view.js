// Published plots: all of them, the newest first, and one in a frame of its own.

import { html, nothing, render } from "./vendor/lit-html.js";
import { Live } from "./live.js";
import { counted, line, mayPass, msOf, read, shown, timeText, utcText } from "./words.js";

const ASK_MS = 1000; // between two looks at the record, and ten times as long as one takes ...
const FAILED_MS = 3000; // ... and after one that failed
const HEAD = "#taskgrove-origin"; // the head of a page hides: all that it tells stands here

const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : bytes >= 1e3 ? `${Math.round(bytes / 1e3)} kB` : `${bytes} B`);
const time = (ns) => html`<span title=${utcText(msOf(ns))}>${timeText(msOf(ns))}</span>`;
const address = (plot) => `/plots/${encodeURIComponent(plot.run_id)}/${plot.sequence}`;
const runOf = (plot) => (plot.experiment ? html`<span><bdi>${line(plot.experiment)}</bdi>${plot.experiment_run ? html` run <bdi>${line(plot.experiment_run)}</bdi>` : nothing}</span>` : nothing);
const failure = (error) => html`<p role="alert"><bdi>${shown(error.message)}</bdi> ${error.hint ? html`<bdi>${shown(error.hint)}</bdi>` : nothing}</p>`;

// What both views do: read their data, again whenever the record changes, and draw.
class Reading {
  constructor(page, about, badge, go, visit) {
    Object.assign(this, { page, about, badge, go, visit, found: null, error: null });
  }

  begin() {
    this.live = new Live(() => "/api/stream", { changed: () => this.ask() }, () => this.draw());
    this.ask();
    return this;
  }

  close() {
    this.closed = true;
    this.live.close();
  }

  async ask() {
    if (this.closed) return;
    if (this.asking) { this.again = true; return; }
    this.asking = true;
    const began = performance.now();
    try {
      this.found = await read(this.source());
      this.error = null;
    } catch (error) {
      this.error = error;
      this.again = mayPass(error);
    }
    this.draw();
    setTimeout(() => {
      this.asking = false;
      if (this.again) { this.again = false; this.ask(); }
    }, this.error ? FAILED_MS : Math.max(ASK_MS, 10 * (performance.now() - began)));
  }

  draw() {
    if (!this.closed) this.render();
  }

  nav(inside) {
    return html`<nav><span class="ways"><a href="/" @click=${this.go}>All runs</a> ${inside}</span>${this.badge(this.live)}</nav>`;
  }
}

export class PlotsView extends Reading {
  source() { return `/api/plots${location.search}`; }

  narrow(name, value) {
    const given = new URLSearchParams(location.search);
    value ? given.set(name, value) : given.delete(name);
    this.visit(`/plots${given.size ? `?${given}` : ""}`);
  }

  card(plot) {
    return html`<li><a class="card" href=${address(plot)} @click=${this.go}>
      <span class="tile" aria-hidden="true">${plot.picture ? html`<img src=${plot.picture} alt="" loading="lazy">` : plot.is_kept ? line(plot.kind || "page", 40) : "not kept"}</span>
      <b><bdi>${line(plot.name, 120)}</bdi></b></a>
      <p class="calm"><bdi>${line(plot.tab.replaceAll("/", " / "), 120)}</bdi></p>
      <p>${time(plot.published_ns)} <bdi>${line(plot.analysis ?? "", 80)}</bdi></p>
      <p class="calm">${runOf(plot)} <a href=${`/runs/${encodeURIComponent(plot.run_id)}?node=${encodeURIComponent(plot.path)}`} @click=${this.go}><bdi>${line(plot.run_id, 80)}</bdi></a></p></li>`;
  }

  list() {
    const found = this.found;
    if (this.error) return failure(this.error);
    if (!found) return html`<p>Reading the record …</p>`;
    if (found.plots.length === 0) return found.is_narrow
      ? html`<p>No plots match. <a href="/plots" @click=${this.go}>Show all plots</a></p>`
      : html`<p>No plots have been published yet. An analysis that returns <code>ElogSummaryPlots</code> publishes some when it is given a folder:</p>
        <p><code>taskgrove analyse CONFIG TASK --pages pages</code></p><p><code>taskgrove run MAP COMMAND --pages pages</code></p>`;
    return html`<ul class="cards">${found.plots.map((plot) => this.card(plot))}</ul>
      ${found.has_more ? html`<p><button type="button" @click=${() => this.narrow("limit", String(Math.min(1000, found.plots.length * 4)))}>Show more</button></p>` : nothing}`;
  }

  render() {
    document.title = "Plots – taskgrove";
    const given = new URLSearchParams(location.search);
    const run = given.get("run");
    render(html`
      ${this.nav(html`<b>Plots</b>`)}
      <header><h1>Plots</h1></header>
      <form class="filter" role="search" @submit=${(event) => event.preventDefault()}>
        <label>Place or analysis<input .value=${given.get("name") ?? ""} placeholder="scans" @change=${(event) => this.narrow("name", event.target.value.trim())}></label>
        ${run ? html`<p>of run <bdi>${line(run, 80)}</bdi> <button type="button" class="link" @click=${() => this.narrow("run", "")}>show those of all runs</button></p>` : nothing}
      </form>
      ${this.list()}`, this.page);
  }
}

export class PlotView extends Reading {
  constructor(page, about, badge, go, runId, sequence) {
    super(page, about, badge, go);
    Object.assign(this, { runId, sequence });
  }

  source() { return `/api/plots/${encodeURIComponent(this.runId)}/${this.sequence}`; }

  // A row of tabs, and a row of the pages under the tab at hand.
  tabs() {
    const { plot, beside } = this.found;
    const first = new Map();
    for (const one of beside) if (!first.has(one.tab)) first.set(one.tab, one);
    const link = (one, words, here) => html`<a href=${address({ run_id: plot.run_id, sequence: one.sequence })} @click=${this.go} aria-current=${here ? "page" : nothing}><bdi>${line(words, 120)}</bdi></a>`;
    const under = beside.filter((one) => one.tab === plot.tab);
    return html`
      ${first.size > 1 ? html`<p class="tabs" role="group" aria-label="Tabs of the run">${[...first].map(([tab, one]) => link(one, tab ? tab.replaceAll("/", " / ") : "(no tab)", tab === plot.tab))}</p>` : nothing}
      ${under.length > 1 ? html`<p class="tabs" role="group" aria-label="Pages under the tab">${under.map((one) => link(one, one.name, one.display_name === plot.display_name))}</p>` : nothing}`;
  }

  facts() {
    const { plot, newer, summary } = this.found;
    return html`<p class="facts">
      ${plot.analysis ? html`<span>analysis <bdi>${line(plot.analysis)}</bdi></span>` : nothing}
      ${runOf(plot)}
      <span>run <a href=${`/runs/${encodeURIComponent(plot.run_id)}?node=${encodeURIComponent(plot.path)}`} @click=${this.go}><bdi>${line(plot.run_id)}</bdi></a></span>
      <span>step <bdi>${line(plot.path)}</bdi></span>
      <span>published ${time(plot.published_ns)}</span><span>${size(plot.size_bytes)}</span></p>
      ${summary ? html`<p><bdi>${line(summary)}</bdi></p>` : nothing}
      ${newer ? html`<p class="tone-warn">A newer version was published ${time(newer.published_ns)}: <a href=${address(newer)} @click=${this.go}>show it</a></p>` : nothing}`;
  }

  more() {
    const { parameters, files, foreign } = this.found;
    const given = Object.entries(parameters);
    return html`
      ${given.length ? html`<details ?open=${given.length <= 4}><summary>${counted(given.length, "parameter")}</summary><dl class="given">${given.slice(0, 500).map(([name, value]) => html`<dt><bdi>${line(name, 100)}</bdi></dt><dd><bdi>${shown(value, 2000)}</bdi></dd>`)}</dl></details>` : nothing}
      ${files.length ? html`<p class="facts">${files.map((file) => html`<span><a href=${file.address} download><bdi>${line(file.name, 120)}</bdi></a>${file.label && file.label !== file.name ? html` (<bdi>${line(file.label, 120)}</bdi>)` : nothing}, ${size(file.size_bytes)}</span>`)}</p>` : nothing}
      ${foreign.length ? html`<p class="tone-warn">The page would load something from the network, which is not allowed here: <bdi>${line(foreign[0], 200)}</bdi></p>` : nothing}`;
  }

  // The frame keeps its address: drawn anew, a plot would lose its zoom.
  frame() {
    const { plot, frame } = this.found;
    if (!plot.is_kept) return html`<p>This version of the page is not kept any more.${this.found.newer ? nothing : html` Nor is a newer one in the record.`}</p>`;
    this.shown ??= frame + HEAD;
    return html`<iframe class="plot" title=${`The plot ${line(plot.name, 120)}`} sandbox="allow-scripts allow-downloads" referrerpolicy="no-referrer" src=${this.shown}></iframe>`;
  }

  render() {
    const plot = this.found?.plot;
    document.title = plot ? `${line(plot.name, 60)} – taskgrove` : "taskgrove";
    render(html`
      ${this.nav(html`<a href="/plots" @click=${this.go}>Plots</a>`)}
      ${!plot ? (this.error ? failure(this.error) : html`<p>Reading the record …</p>`) : html`
        ${this.tabs()}
        <header><h1><bdi>${line(plot.display_name.replaceAll("/", " / "))}</bdi></h1>${this.facts()}${this.more()}</header>
        ${this.frame()}`}`, this.page);
  }
}
