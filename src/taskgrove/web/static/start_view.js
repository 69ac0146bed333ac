// Starting a command of a map: first a dry run, then the start.

import { html, nothing, render } from "./vendor/lit-html.js";
import { Live } from "./live.js";
import { DRY_RUN_MS, begin, errorView, refusedView, rememberName, rememberedName } from "./starting.js";
import { counted, line, read, send, shown } from "./words.js";

const LINE = 26; // the height of a line of the tree, in pixels, as in style.css
const SPARE = 6; // lines beyond the edges
const MOST = 200; // lines that may be elements at once

// The steps of a start, and what moves it. What is not listed changes nothing.
const MOVES = {
  choosing: { dry: "drying" },
  drying: { passed: "checked", refused: "choosing" },
  checked: { edit: "choosing", dry: "drying", start: "starting" },
  starting: { refused: "choosing" },
};

export class StartView {
  constructor(page, about, badge, go, visit) {
    Object.assign(this, { page, about, badge, go, visit });
    this.step = "choosing";
    this.maps = null;
    this.error = null;
    this.refused = null;
    this.plan = null;
    this.argin = "";
    this.scroll = 0;
    const given = new URLSearchParams(location.search);
    this.map = given.get("map") ?? "";
    this.command = given.get("command") ?? "";
    this.live = new Live(() => "/api/stream", { changed: () => {} }, () => this.draw());
    this.load();
    this.draw();
  }

  close() {
    this.closed = true;
    this.live.close();
  }

  move(request) {
    const next = MOVES[this.step][request];
    if (next) this.step = next;
    return next !== undefined;
  }

  async load() {
    try {
      this.maps = (await read("/api/maps")).maps;
    } catch (error) {
      this.error = error;
    }
    const first = this.maps?.find((map) => map.commands?.length);
    if (first && !this.maps.some((map) => map.file === this.map && map.commands?.some((it) => it.name === this.command))) {
      this.map = first.file;
      this.command = first.commands[0].name;
    }
    this.draw();
  }

  choose(map, command) {
    Object.assign(this, { map, command });
    const address = new URL(location.href);
    address.searchParams.set("map", map);
    address.searchParams.set("command", command);
    history.replaceState(null, "", address);
    this.edit();
  }

  // What was looked at is not what would be started any more.
  edit() {
    this.move("edit");
    this.plan = this.error = this.refused = null;
    this.draw();
  }

  async takeFile(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    this.argin = await file.text();
    this.edit();
  }

  async dry(event) {
    event.preventDefault();
    if (!this.move("dry")) return;
    this.plan = this.error = this.refused = null;
    this.draw();
    try {
      this.plan = await send("/api/dry-runs", { map: this.map, command: this.command, argin: this.argin }, DRY_RUN_MS);
      this.scroll = 0;
      this.move("passed");
    } catch (error) {
      this.error = error;
      this.move("refused");
    }
    this.draw();
    this.page.querySelector("#plan, [role=alert]")?.focus();
  }

  async start(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    if (!this.move("start")) return;
    const who = String(form.get("who") ?? "").trim();
    rememberName(who);
    this.refused = this.error = null;
    this.draw();
    const { digest, run_id } = this.plan;
    const before = String(form.get("before") ?? "").trim();
    const data = {
      map: this.map, command: this.command, argin: this.argin, digest, run_id, who, why: String(form.get("why") ?? ""),
      hold: form.get("hold") !== null, pause_before: before ? [before] : [],
    };
    try {
      const told = await begin("/api/starts", data, () => this.closed);
      if (told === null) return;
      if (told.fate === "recorded") { this.visit(`/runs/${encodeURIComponent(run_id)}`); return; }
      this.refused = told;
    } catch (error) {
      this.error = error;
    }
    this.move("refused");
    this.plan = null;
    this.draw();
  }

  row(node, at) {
    const names = node.path.split("/");
    const terms = [node.argin == null || node.step !== "command" ? "" : `argument ${JSON.stringify(node.argin)}`, node.terms].filter(Boolean).join("; ");
    return html`<div class="line composed" role="listitem" aria-level=${names.length} aria-setsize=${this.plan.nodes.length} aria-posinset=${at + 1} .style=${`transform: translateY(${at * LINE}px)`}>
      <span .style=${`padding-left: ${Math.min(names.length - 1, 30) * 16}px`}><bdi class=${node.is_leaf ? "" : "group"} title=${line(node.path)}>${line(names.at(-1), 200)}</bdi></span>
      <span class="of" title=${line(node.what)}><bdi>${line(node.what, 200)}</bdi></span>
      <span class="said" title=${line(terms)}><bdi>${line(terms, 200)}</bdi></span></div>`;
  }

  tree() {
    const nodes = this.plan.nodes;
    const first = Math.max(0, Math.floor(this.scroll / LINE) - SPARE);
    const height = this.page.querySelector(".tree")?.clientHeight || 400;
    const last = Math.min(nodes.length, first + Math.min(MOST, Math.ceil(height / LINE) + 2 * SPARE));
    return html`<div class="tree short" role="list" tabindex="0" aria-label="The steps of the dry run" .style=${`--rows: ${nodes.length * LINE + 4}px`}
        @scroll=${(event) => { this.scroll = event.target.scrollTop; this.draw(); }}>
      <div class="room" .style=${`height: ${nodes.length * LINE}px`}>${nodes.slice(first, last).map((node, at) => this.row(node, first + at))}</div></div>`;
  }

  checked() {
    const plan = this.plan;
    if (!plan) return nothing;
    const busy = this.step === "starting";
    return html`<section aria-labelledby="plan">
      <h2 id="plan" tabindex="-1">Dry run: ${counted(plan.leaf_count, "leaf", "leaves")}, nothing was started</h2>
      ${this.tree()}
      ${plan.notes.length ? html`<h3>Left out, not checked, and limits</h3><ul>${plan.notes.map((note) => html`<li><bdi>${shown(note)}</bdi></li>`)}</ul>` : nothing}
      ${plan.said.length ? html`<ul class="calm">${plan.said.map((text) => html`<li><bdi>${shown(text)}</bdi></li>`)}</ul>` : nothing}
      <form class="start" @submit=${(event) => this.start(event)}>
        <label class="option"><input type="checkbox" name="hold"> Hold a step that fails until a person decides on it</label>
        <label>Pause before this step<input name="before" list="steps" maxlength="4096" placeholder="none" autocomplete="off"></label>
        <datalist id="steps">${plan.nodes.slice(1, MOST).map((node) => html`<option value=${node.path}></option>`)}</datalist>
        <label>Reason<textarea name="why" rows="2" maxlength="4096"></textarea></label>
        <label>Your name<input name="who" maxlength="200" .defaultValue=${rememberedName()} placeholder=${this.about.who} autocomplete="name"></label>
        <p class="buttons"><button class="main" id="start" ?disabled=${busy}>${busy ? "Starting …" : html`Start <bdi>${line(this.command, 80)}</bdi>`}</button></p>
      </form></section>`;
  }

  form() {
    if (!this.maps) return this.error ? nothing : html`<p>Reading the maps …</p>`;
    const wrong = this.maps.filter((map) => map.error);
    const offered = this.maps.filter((map) => map.commands?.length);
    const chosen = offered.find((map) => map.file === this.map)?.commands.find((it) => it.name === this.command);
    const busy = this.step === "drying" || this.step === "starting";
    return html`
      ${wrong.map((map) => errorView({ message: map.error, hint: map.hint, told: { file: map.file, line: map.line } }, this.go))}
      ${this.maps.length === 0 ? html`<p>No map is offered here. Stop the server, and type in its terminal: <code>taskgrove serve --map MAP</code>.</p>` : nothing}
      ${offered.length === 0 ? nothing : html`<form class="start" @submit=${(event) => this.dry(event)}>
        <label>Command<select id="command" ?disabled=${busy} @change=${(event) => this.choose(...JSON.parse(event.target.value))}>
          ${offered.map((map) => html`<optgroup label=${line(map.file)}>${map.commands.map((it) => html`<option value=${JSON.stringify([map.file, it.name])} ?selected=${map.file === this.map && it.name === this.command}>${line(it.name, 120)}</option>`)}</optgroup>`)}</select></label>
        ${chosen?.description ? html`<p class="calm"><bdi>${shown(chosen.description)}</bdi></p>` : nothing}
        <label>Argument (JSON; empty: none)<textarea id="argin" class="code" rows="5" spellcheck="false" ?disabled=${busy} .value=${this.argin} @input=${(event) => { this.argin = event.target.value; this.edit(); }}></textarea></label>
        <label class="file">or a file<input type="file" accept=".json,application/json" ?disabled=${busy} @change=${(event) => this.takeFile(event)}></label>
        <p class="buttons"><button class=${this.plan ? "" : "main"} id="dry" ?disabled=${busy}>${this.step === "drying" ? "Looking …" : "Dry run"}</button></p>
      </form>`}`;
  }

  draw() {
    if (this.closed) return;
    document.title = "Start a command – taskgrove";
    render(html`
      <nav><a href="/" @click=${this.go}>All runs</a>${this.badge(this.live)}</nav>
      <header><h1>Start a command</h1></header>
      ${this.about.may_start ? this.form() : html`<p>Nothing can be started here${this.about.may_act ? html`. Stop the server, and type in its terminal: <code>taskgrove serve --map MAP</code>` : ""}.</p>`}
      <div aria-live="polite">${this.step === "drying" ? html`<p>The dry run asks the devices for their states and commands; it starts nothing.</p>` : nothing}
        ${this.step === "starting" ? html`<p>Starting run <bdi>${line(this.plan.run_id)}</bdi> …</p>` : nothing}</div>
      ${this.error ? errorView(this.error, this.go) : nothing}
      ${this.refused ? refusedView(this.refused) : nothing}
      ${this.checked()}`, this.page);
  }
}
