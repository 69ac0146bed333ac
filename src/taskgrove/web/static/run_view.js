// One run: the words on top, the tree, the selected node.

import { html, nothing, render } from "./vendor/lit-html.js";
import { openAct } from "./acting.js";
import { Live } from "./live.js";
import { openResume } from "./resuming.js";
import { nodeView } from "./node_view.js";
import { usualWords, waitWords } from "./row_words.js";
import { Tree } from "./tree.js";
import { counted, duration, line, mayPass, msOf, read, readInto, shown, timeText, utcText } from "./words.js";

const LINE = 26; // the height of a line of the tree, in pixels, as in style.css
const SPARE = 6; // lines beyond the edges
const ASK_MS = 500; // between two looks at the selected node
const STACKED = "(max-width: 900px)"; // as in style.css
const HIDDEN_MS = 250; // between two drawings while there are no frames
const USUAL_AFTER_MS = 500; // the rows themselves come first
const USUAL_MS = 5000; // until usual durations that could not be read are asked for again
const MOST = 200; // lines that may be elements at once

export class RunView {
  constructor(page, about, runId, badge, go, visit) {
    Object.assign(this, { page, about, runId, badge, go, visit });
    this.tree = new Tree();
    this.head = null;
    this.gone = "";
    this.position = 0;
    this.selected = new URLSearchParams(location.search).get("node") ?? "";
    this.told = null;
    this.usual = new Map();
    this.scroll = 0;
    this.height = 400;
    this.due = false;
    this.timeline = false;
    this.span = null;
    this.live = new Live(
      () => `/api/runs/${encodeURIComponent(runId)}/stream?from=${this.position}`,
      {
        nodes: (rows, id) => this.takeRows(rows, id),
        head: (head) => { this.head = head; this.draw(); },
        gone: (told) => { this.gone = told.error; this.live.close(); this.draw(); },
      },
      () => this.draw(),
    );
    this.seconds = setInterval(() => this.draw(), 1000);
    this.resized = () => this.draw();
    addEventListener("resize", this.resized);
    this.draw();
  }

  close() {
    this.live.close();
    clearInterval(this.seconds);
    clearTimeout(this.usualTimer);
    removeEventListener("resize", this.resized);
    this.closed = true;
  }

  takeRows(rows, id) {
    this.tree.apply(rows);
    this.usualTimer ??= setTimeout(() => this.askUsual(), USUAL_AFTER_MS);
    if (id) this.position = Number(id);
    if (this.selected && rows.some((row) => row.path === this.selected)) this.ask();
    this.draw();
  }

  // The usual durations of the steps, in milliseconds by path, are read once.
  async askUsual() {
    if (this.closed) return;
    try {
      const told = await read(`/api/runs/${encodeURIComponent(this.runId)}/usual`);
      this.usual = new Map(Object.entries(told.usual_s).map(([path, s]) => [path, s * 1000]));
      this.draw();
    } catch (error) {
      if (mayPass(error)) this.usualTimer = setTimeout(() => this.askUsual(), USUAL_MS);
    }
  }

  // All drawing of one frame happens once. A hidden tab has no frames: its title is still kept true.
  draw() {
    if (this.due || this.closed) return;
    this.due = true;
    const now = () => {
      if (!this.due) return;
      this.due = false;
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      if (!this.closed) this.render();
    };
    const frame = requestAnimationFrame(now);
    const timer = setTimeout(now, HIDDEN_MS);
  }

  // Read the selected node; however often it changes, one request is under way, twice a second at most.
  async ask() {
    if (this.asking) { this.again = true; return; }
    this.asking = true;
    while (this.selected && !this.closed) {
      this.again = false;
      const path = this.selected;
      let told;
      try {
        told = await read(`/api/runs/${encodeURIComponent(this.runId)}/node?path=${encodeURIComponent(path)}`);
      } catch (error) {
        told = { error: error.message };
        this.again = mayPass(error);
      }
      if (path === this.selected) { this.told = told; this.draw(); }
      await new Promise((done) => { this.wake = done; setTimeout(done, path === this.selected ? ASK_MS : 50); });
      if (!this.again && path === this.selected) break;
    }
    this.asking = false;
  }

  select(path) {
    this.selected = path;
    this.told = null;
    this.wake?.();
    const address = new URL(location.href);
    path ? address.searchParams.set("node", path) : address.searchParams.delete("node");
    history.replaceState(null, "", address);
    if (path) { this.tree.reveal(path); this.ask(); this.see(); }
    this.draw();
  }

  // Select by the pointer: where the step is shown below the tree, bring it into sight.
  choose(path) {
    this.select(path);
    this.render();
    if (matchMedia(STACKED).matches) this.page.querySelector(".node")?.scrollIntoView({ block: "nearest" });
  }

  see() {
    const at = this.tree.lineOf(this.selected);
    const box = this.page.querySelector(".tree");
    if (at < 0 || !box) return;
    if (at * LINE < box.scrollTop) box.scrollTop = at * LINE;
    else if ((at + 1) * LINE > box.scrollTop + box.clientHeight) box.scrollTop = (at + 1) * LINE - box.clientHeight;
    this.scroll = box.scrollTop;
  }

  key(event) {
    const lines = this.tree.current();
    if (lines.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = Math.max(0, this.tree.lineOf(this.selected));
    const node = lines[at];
    const step = Math.max(1, Math.floor(this.height / LINE) - 1);
    const to = {
      ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1, PageDown: at + step, PageUp: at - step,
    }[event.key];
    if (to !== undefined) this.select(lines[Math.min(lines.length - 1, Math.max(0, to))].path);
    else if (event.key === "ArrowRight" && node.children.length) {
      this.tree.isFolded(node) ? this.tree.fold(node, false) : this.select(node.children[0].path);
    } else if (event.key === "ArrowLeft") {
      node.children.length && !this.tree.isFolded(node) ? this.tree.fold(node, true) : node.parent && this.select(node.parent.path);
    } else if (event.key === "Enter" || event.key === " ") this.select(node.path);
    else return;
    event.preventDefault();
    this.draw();
  }

  row(node, at) {
    const row = node.row;
    const look = this.about.looks[row.state];
    const folded = this.tree.isFolded(node);
    const now = this.live.now();
    const took = row.started_ms === undefined ? null : (row.ended_ms ?? (this.head?.is_living === false ? row.last_ms : now)) - row.started_ms;
    const usual = usualWords(row, took, this.usual.get(row.path));
    const wait = waitWords(node, now, this.head?.is_living !== false);
    const devices = row.devices ?? [];
    const more = (row.device_count ?? 0) > devices.length ? ` +${row.device_count - devices.length}` : "";
    const inside = folded ? [...node.tally].filter(([, count]) => count).map(([state, count]) => `${count.toLocaleString()} ${state}`).join(", ") : "";
    const said = row.is_leaf ? [row.message, row.rule] : [row.rule, row.message]; // of a group its sum
    const words = folded ? inside : said.find(Boolean) ?? "";
    return html`<div class="line" role="treeitem" id=${`line-${row.number}`} data-path=${row.path} data-state=${row.state}
      aria-level=${node.depth + 1} aria-setsize=${node.parent ? node.parent.children.length : 1} aria-posinset=${(node.place ?? 0) + 1}
      aria-expanded=${node.children.length ? String(!folded) : nothing} aria-selected=${String(row.path === this.selected)}
      aria-label=${[line(node.name), row.state, wait?.words, usual?.words].filter(Boolean).join(", ")}
      .style=${`transform: translateY(${at * LINE}px)`} @click=${() => this.choose(row.path)}>
      <span class="name" .style=${`padding-left: ${Math.min(node.depth, 30) * 16}px`}>${node.children.length
        ? html`<span class="twist" aria-hidden="true" @click=${(event) => { event.stopPropagation(); this.tree.fold(node, !folded); this.draw(); }}>${folded ? "▸" : "▾"}</span>`
        : html`<span class="twist"></span>`}<bdi class=${row.is_leaf ? "" : "group"}>${line(node.name, 200)}</bdi></span>
      <span class="state tone-${look.tone}">${look.mark} ${row.state}${(row.attempt ?? 1) > 1 ? html` <span title="attempt ${row.attempt}">↻${row.attempt}</span>` : nothing}</span>
      <span class=${`took ${usual?.long ? "tone-warn" : ""}`}>${took === null ? "" : duration(took)}</span>
      ${this.timeline ? this.bar(row) : html`<span class="done">${row.state === "running" ? html`<progress max="100" .value=${row.progress} aria-label="percent done"></progress> ${row.progress} %` : nothing}${usual ? html` <span class=${usual.long ? "tone-warn" : "normal"}>${usual.words}</span>` : nothing}</span>
      <span class="of"><bdi>${line([row.command, devices.join(", ") + more].filter(Boolean).join(" · "), 200)}</bdi></span>
      <span class="said" title=${[wait?.words, line(words, 400)].filter(Boolean).join("; ")}>${wait ? html`<span class=${`wait tone-${wait.tone}`}>${wait.words}</span> ` : nothing}<bdi>${line(words, 200)}</bdi></span>`}
    </div>`;
  }

  // The time that the timeline spans, and which nodes decided how long it took.
  measure() {
    const root = this.tree.root?.row;
    if (!this.timeline || root?.started_ms === undefined) { this.span = null; return; }
    const now = this.head?.is_living === false ? (root.last_ms ?? root.started_ms) : this.live.now();
    const usual = this.head?.usual;
    const end = Math.max(root.ended_ms ?? now, usual ? root.started_ms + usual.high_s * 1000 : 0);
    this.span = { from: root.started_ms, length: Math.max(1, end - root.started_ms), now, usual, critical: this.tree.critical(now) };
  }

  bar(row) {
    const span = this.span;
    if (!span || (row.started_ms ?? row.queued_ms) === undefined) return html`<span class="bar"></span>`;
    const at = (ms) => Math.min(100, Math.max(0, ((ms - span.from) / span.length) * 100));
    const piece = (kind, from, to, words) => html`<i class=${kind} title=${words} .style=${`left: ${at(from)}%; width: ${Math.max(0.15, at(to) - at(from))}%`}></i>`;
    const end = row.ended_ms ?? span.now;
    const tone = this.about.looks[row.state].tone;
    const critical = span.critical.has(row.path);
    return html`<span class="bar">
      ${row.queued_ms !== undefined && row.started_ms !== undefined && row.started_ms - row.queued_ms > 50 ? piece("queued", row.queued_ms, row.started_ms, "queued") : nothing}
      ${row.started_ms === undefined ? nothing : piece(`work back-${tone}${critical ? " critical" : ""}`, row.started_ms, end, `${row.state}, ${duration(end - row.started_ms)}${critical ? ", on the critical path" : ""}`)}
      ${row.waits_since_ms === undefined ? nothing : piece("waits", row.waits_since_ms, end, row.state)}
      ${(row.retried_ms ?? []).map((ms, number) => piece("again", ms, ms, `attempt ${number + 2}`))}
      ${row.started_ms !== undefined && this.usual.has(row.path) ? piece("own-usual", row.started_ms + this.usual.get(row.path), row.started_ms + this.usual.get(row.path), `usually takes ${duration(this.usual.get(row.path))}`) : nothing}
      ${span.usual ? piece("usual", span.from + span.usual.low_s * 1000, span.from + span.usual.high_s * 1000, `the run usually takes ${duration(span.usual.low_s * 1000)} to ${duration(span.usual.high_s * 1000)}`) : nothing}
    </span>`;
  }

  axis() {
    if (!this.span) return nothing;
    return html`<div class="axis line" aria-hidden="true"><span></span><span></span><span></span><span class="bar">${[0, 25, 50, 75].map((part) => html`<b .style=${`left: ${part}%`}>${duration((this.span.length * part) / 100)}</b>`)}</span></div>`;
  }

  lines() {
    const lines = this.tree.current();
    const first = Math.max(0, Math.floor(this.scroll / LINE) - SPARE);
    const last = Math.min(lines.length, first + Math.min(MOST, Math.ceil(this.height / LINE) + 2 * SPARE));
    const drawn = [];
    for (let at = first; at < last; at++) drawn.push(this.row(lines[at], at));
    const chosen = this.tree.nodes.get(this.selected);
    const active = chosen && chosen.line >= first && chosen.line < last && lines[chosen.line] === chosen ? `line-${chosen.row.number}` : nothing;
    return html`<div class="tree ${this.timeline ? "timeline" : ""}" role="tree" tabindex="0" aria-label="The steps of the run" aria-activedescendant=${active}
        .style=${`--rows: ${lines.length * LINE + 4}px`}
        @keydown=${(event) => this.key(event)} @scroll=${(event) => { this.scroll = event.target.scrollTop; this.draw(); }}>
      <div class="room" .style=${`height: ${lines.length * LINE}px`}>${drawn}</div></div>`;
  }

  buttons() {
    const head = this.head;
    if (!head || !this.about.may_act) return nothing;
    if (!head.is_living) {
      const left = this.about.may_resume && head.outcome !== "ok" && !head.run.resumed_by_run_id;
      return left ? html`<span class="buttons"><button type="button" id="resume" @click=${() => openResume(this.about, head.run.run_id, this.visit)}>Resume …</button></span>` : nothing;
    }
    const act = (name, words) => html`<button type="button" data-act=${name} @click=${() => openAct(this.about, this.runId, name)}>${words}</button>`;
    return html`<span class="buttons" role="group" aria-label="Actions on the run">
      ${head.is_paused ? act("continue", "Continue") : act("pause", "Pause")} ${act("abort", "Abort")}</span>`;
  }

  top() {
    const head = this.head;
    if (!head) return html`<h1>${this.gone ? "This run cannot be shown" : "Reading the run …"}</h1>${this.gone ? html`<p role="alert"><bdi>${shown(this.gone)}</bdi></p>` : nothing}`;
    const run = head.run;
    const outcome = { ok: "completed", lost: "not found" }[head.outcome] ?? head.outcome;
    const look = this.about.looks[outcome] ?? this.about.looks.running;
    const end = msOf(run.ended_ns) ?? (head.is_living ? this.live.now() : msOf(run.last_ns));
    const busy = [...(this.tree.root?.tally ?? [])].filter(([, count]) => count);
    return html`
      <h1><bdi>${line(run.command)}</bdi> <span class="outcome tone-${look.tone}">${look.mark} ${head.outcome}${head.is_paused ? ", paused" : ""}</span>${head.is_living && this.tree.root?.tally.get("held") ? html` <span class="tone-warn">${this.about.looks.held.mark} waits for a decision</span>` : nothing} ${this.buttons()}</h1>
      <p class="facts"><span><bdi>${line(run.run_id)}</bdi></span>
        <span title=${utcText(msOf(run.created_ns))}>began ${timeText(msOf(run.created_ns))}</span>
        <span class="elapsed">${duration(end - msOf(run.created_ns))}</span>
        <span>${counted(run.leaf_count, "leaf", "leaves")}${busy.length ? html`: ${busy.map(([state, count]) => `${count.toLocaleString()} ${state}`).join(", ")}` : nothing}</span>
        ${head.usual ? html`<span>usually ${duration(head.usual.low_s * 1000)} to ${duration(head.usual.high_s * 1000)} (${counted(head.usual.run_count, "run")})</span>` : nothing}
        ${run.labels.by || run.labels.why ? html`<span>started by <bdi>${line(run.labels.by || run.user)}</bdi>${run.labels.why ? html`: <bdi>${line(run.labels.why)}</bdi>` : nothing}</span>` : nothing}
        ${[["resumes", run.parent_run_id], ["resumed by", run.resumed_by_run_id]].map(([words, id]) => (id ? html`<span>${words} <a href="/runs/${encodeURIComponent(id)}" @click=${this.go}><bdi>${line(id)}</bdi></a></span>` : nothing))}
        ${run.user ? html`<span><bdi>${line(`${run.user}@${run.host}`)}</bdi></span>` : nothing}</p>
      ${head.state && !head.is_living ? html`<p class="tone-stop"><bdi>${shown(head.state)}</bdi></p>` : nothing}
      <p class="why" id="why"><bdi>${shown(head.sentence)}</bdi></p>
      ${head.groups.length ? html`<details open><summary>${counted(head.groups.length, "cause")}</summary><ul class="causes">${head.groups.slice(0, 10).map((group) => html`<li>
        <bdi>${line(group.cause)}</bdi> <span class="calm">(${counted(group.count, "leaf", "leaves")})</span>
        ${group.paths.slice(0, 5).map((path) => html` <button type="button" class="link" @click=${() => this.choose(path)}><bdi>${line(path, 120)}</bdi></button>`)}</li>`)}</ul></details>` : nothing}
      <div class="lists">${run.argv?.some((word) => word.startsWith("--run-id=")) ? html`<details class="output" @toggle=${(event) => event.target.open && readInto(event.target.querySelector("pre"), `/api/starts/${encodeURIComponent(run.run_id)}`)}><summary>Words of its runner</summary><pre aria-live="polite">Reading …</pre></details>` : nothing}${head.lists.map((list) => html`<details><summary><bdi>${line(list.title)}</bdi></summary><ul>${list.items.slice(0, 30).map((item) => html`<li><bdi>${shown(item)}</bdi></li>`)}</ul></details>`)}</div>`;
  }

  render() {
    const chosen = this.tree.nodes.get(this.selected);
    if (chosen && this.told === null && !this.asking) this.ask();
    const head = this.head;
    this.measure();
    document.title = head ? `${head.outcome}: ${line(head.run.command, 60)} – taskgrove` : "taskgrove";
    render(html`
      <nav><span class="ways"><a href="/" @click=${this.go}>All runs</a> ${head?.plots ? html`<a href=${`/plots?run=${encodeURIComponent(this.runId)}`} @click=${this.go}>${counted(head.plots, "plot")} of this run</a>` : nothing}</span>${this.badge(this.live)}</nav>
      <header>${this.top()}</header>
      <p class="tools"><label><input type="checkbox" .checked=${this.tree.onlyBusy} @change=${(event) => { this.tree.onlyBusy = event.target.checked; this.tree.stale = true; this.draw(); }}> only what runs, waits for a decision or did not end well</label>
        <label><input type="checkbox" id="timeline" .checked=${this.timeline} @change=${(event) => { this.timeline = event.target.checked; this.draw(); }}> timeline</label></p>
      <div class="panes ${chosen ? "with-node" : ""}"><div class=${this.timeline ? "timeline" : ""}>${this.axis()}${this.lines()}</div>${chosen ? nodeView({ about: this.about, runId: this.runId, node: chosen, told: this.told, living: Boolean(head?.is_living), now: this.live.now(), usual: this.usual.get(this.selected), close: () => this.select("") }) : nothing}</div>`,
      this.page);
    const height = this.page.querySelector(".tree")?.clientHeight ?? 0;
    if (height && height !== this.height) { this.height = height; this.draw(); }
  }
}
