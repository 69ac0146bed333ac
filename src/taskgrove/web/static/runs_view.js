// The list of runs, newest first; the filter is the address.

import { html, nothing, render } from "./vendor/lit-html.js";
import { Live } from "./live.js";
import { counted, duration, line, mayPass, msOf, read, shown, timeText, utcText } from "./words.js";

const ASK_MS = 300; // between two looks at the record ...
const FAILED_MS = 2000; // ... and after one that failed

const FIELDS = [
  ["command", "Command", "configure*"], ["device", "Device", "low-cbf/*"], ["since", "Since", "2h, 7d, 2026-11-21"], ["label", "Label", "name=value"],
];

export class RunsView {
  constructor(page, about, badge, go, visit) {
    Object.assign(this, { page, about, badge, go, visit });
    this.found = null;
    this.error = null;
    this.live = new Live(() => "/api/stream", { changed: () => this.ask() }, () => this.draw());
    this.seconds = setInterval(() => this.draw(), 1000);
    this.ask();
  }

  close() {
    this.closed = true;
    this.live.close();
    clearInterval(this.seconds);
  }

  async ask() {
    if (this.closed) return;
    if (this.asking) { this.again = true; return; }
    this.asking = true;
    try {
      this.found = await read(`/api/runs${location.search}`);
      this.error = null;
    } catch (error) {
      this.error = error;
      this.again = mayPass(error);
    }
    this.asking = false;
    this.draw();
    if (this.again) { this.again = false; setTimeout(() => this.ask(), this.error ? FAILED_MS : ASK_MS); }
  }

  narrow(name, value) {
    const given = new URLSearchParams(location.search);
    value ? given.set(name, value) : given.delete(name);
    this.visit(`/${given.size ? `?${given}` : ""}`);
  }

  row(run) {
    const state = { ok: "completed", lost: "not found" }[run.outcome] ?? run.outcome;
    const look = this.about.looks[state] ?? this.about.looks.running;
    const end = msOf(run.ended_ns) ?? (run.state === "running" ? this.live.now() : msOf(run.last_ns));
    return html`<tr data-run=${run.run_id}>
      <td class="tone-${look.tone} outcome">${look.mark} ${run.outcome}</td>
      <td><a href="/runs/${encodeURIComponent(run.run_id)}" @click=${this.go}><bdi>${line(run.command, 120)}</bdi></a></td>
      <td title=${utcText(msOf(run.created_ns))}>${timeText(msOf(run.created_ns))}</td>
      <td class="number">${duration(end - msOf(run.created_ns))}</td>
      <td class="number">${run.failed_leaf_count ? `${run.failed_leaf_count.toLocaleString()}/${run.leaf_count.toLocaleString()} bad` : run.leaf_count.toLocaleString()}</td>
      <td class="said">${run.outcome === "running" ? html`<progress max="100" .value=${run.progress} aria-label="percent done"></progress> ` : nothing}<bdi>${line(run.told, 300)}</bdi></td>
      <td class="id"><bdi>${line(run.run_id)}</bdi></td></tr>`;
  }

  table() {
    const found = this.found;
    const trouble = this.error ? html`<p role="alert"><bdi>${shown(this.error.message)}</bdi> ${this.error.hint ? html`<bdi>${shown(this.error.hint)}</bdi>` : nothing}</p>` : nothing;
    if (this.error && (!found || !mayPass(this.error))) return trouble;
    if (!found) return html`<p>Reading the record …</p>`;
    if (found.runs.length === 0) return found.is_narrow
      ? html`<p>No runs match. <a href="/" @click=${this.go}>Show all runs</a></p>`
      : html`<p>No run has been recorded yet. Type in a terminal: <code>taskgrove run MAP COMMAND</code>. The run appears here.${this.about.may_start ? html` Or <a href="/start" @click=${this.go}>start a command</a>.` : nothing}</p>`;
    return html`${trouble}<div class="wide"><table class="runs"><thead><tr><th>Outcome</th><th>Command</th><th>Began</th><th class="number">Took</th><th class="number">Leaves</th><th>Why</th><th>Run</th></tr></thead>
      <tbody>${found.runs.map((run) => this.row(run))}</tbody></table></div>
      ${found.has_more ? html`<p><button type="button" @click=${() => this.narrow("limit", String(Math.min(1000, found.runs.length * 4)))}>Show more</button></p>` : nothing}`;
  }

  draw() {
    if (this.closed) return;
    document.title = "Runs – taskgrove";
    const given = new URLSearchParams(location.search);
    const wanted = given.get("outcome") ?? "";
    render(html`
      <nav><span class="ways"><b>taskgrove</b> <a href="/plots" @click=${this.go}>Plots</a></span>${this.badge(this.live)}</nav>
      <header><h1>Runs${this.about.may_start ? html` <a class="button main" id="start-link" href="/start" @click=${this.go}>Start a command</a>` : nothing}</h1><p class="facts"><span>record: <bdi>${line(this.about.record)}</bdi></span></p></header>
      <form class="filter" role="search" @submit=${(event) => event.preventDefault()}>
        ${FIELDS.map(([name, label, example]) => html`<label>${label}<input .value=${given.get(name) ?? ""} placeholder=${example} @change=${(event) => this.narrow(name, event.target.value.trim())}></label>`)}
        <label>Outcome<select @change=${(event) => this.narrow("outcome", event.target.value)}>
          <option value="" ?selected=${!wanted}>any</option>
          ${this.about.outcomes.map((outcome) => html`<option value=${outcome} ?selected=${wanted === outcome}>${outcome}${this.found?.counts[outcome] ? ` (${this.found.counts[outcome]})` : ""}</option>`)}</select></label>
      </form>
      ${this.found ? html`<p class="facts counts">${Object.entries(this.found.counts).map(([outcome, count]) => html`<button type="button" class="link" aria-pressed=${String(wanted === outcome)} @click=${() => this.narrow("outcome", wanted === outcome ? "" : outcome)}>${count.toLocaleString()} ${outcome}</button> `)}<span class="calm">of the newest ${counted(this.found.counted, "run")}</span></p>` : nothing}
      ${this.table()}`, this.page);
  }
}
