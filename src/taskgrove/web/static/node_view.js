// The selected node: all that is known of it, and what may be asked.

import { html, nothing } from "./vendor/lit-html.js";
import { openAct } from "./acting.js";
import { duration, line, msOf, readInto, shown, timeText, utcText } from "./words.js";

const NAMES = {
  command_name: "command", target: "device", timeout_s: "timeout", retries: "automatic retries", rule: "rule",
  description: "description", address: "address", call: "runs the command", outside_id: "id outside",
};

const fact = (name, value) => (value === null || value === undefined || value === "" ? nothing : html`<dt>${name}</dt><dd>${value}</dd>`);
const text = (value) => html`<bdi>${shown(typeof value === "object" ? JSON.stringify(value, null, 1) : value)}</bdi>`;
const instant = (ns) => (ns == null ? nothing : html`<span title=${utcText(msOf(ns))}>${timeText(msOf(ns))}</span>`);

function causeOf(cause) {
  const parts = Object.entries(cause).filter(([, value]) => value !== null && value !== "" && value !== false && !(Array.isArray(value) && value.length === 0));
  return html`<dl class="cause">${parts.map(([name, value]) => fact(name.replaceAll("_", " "), name.endsWith("_ns") ? instant(value) : text(value)))}</dl>`;
}

export function buttonsOf(about, runId, node, living) {
  const row = node.row;
  const ended = row.ended_ms !== undefined;
  const acts = !living ? ["verdict"]
    : row.is_open ? ["retry", "accept", "skip", "fail"]
    : ended ? ["verdict"]
    : row.started_ms === undefined ? ["skip", "pause-before"]
    : [];
  const words = { retry: "Retry", accept: "Accept", skip: "Skip", fail: "Let it fail", verdict: "Verdict or note", "pause-before": "Pause before" };
  if (!about.may_act || acts.length === 0) return nothing;
  return html`<p class="buttons" role="group" aria-label="Actions on the step">${acts.map((act) => html`
    <button type="button" data-act=${act} @click=${() => openAct(about, runId, act, node.path)}>${words[act]}</button>`)}</p>`;
}

// What an analysis was given, and what it left: its process, its values and its output.
function analysisOf(runId, path, analysis) {
  const parsed = (value) => { try { return JSON.parse(value); } catch { return value; } };
  const values = (value) => (value && typeof value === "object" && Object.keys(value).length ? html`<pre>${shown(JSON.stringify(value, null, 1))}</pre>` : value === null ? "" : text(value));
  return html`<h3>Analysis</h3><dl>
    ${fact("analysis", text(analysis.analysis))}
    ${fact("parameters", values(parsed(analysis.parameters)))}
    ${fact("summary", analysis.summary ? text(analysis.summary) : "")}
    ${fact("payload", analysis.payload === "null" ? "" : values(parsed(analysis.payload)))}
    ${fact("exit status", analysis.return_code)}
    ${fact("process", analysis.pid == null ? "" : text(`${analysis.pid} of ${analysis.user}@${analysis.host}`))}
    ${fact("command line", analysis.argv?.length ? text(analysis.argv.join(" ")) : "")}
    ${fact("folder", analysis.cwd ? text(analysis.cwd) : "")}</dl>
    ${analysis.output_files?.length ? html`<h3>Output</h3>${analysis.output_files.map((file) => html`<details class="output" @toggle=${(event) => event.target.open && readInto(event.target.querySelector("pre"), `/api/runs/${encodeURIComponent(runId)}/output?path=${encodeURIComponent(path)}&file=${encodeURIComponent(file)}`)}>
      <summary><bdi>${line(file)}</bdi></summary><pre aria-live="polite">Reading …</pre></details>`)}` : nothing}`;
}

export function nodeView({ about, runId, node, told, living, now, usual, close }) {
  const row = node.row;
  const whole = told?.node;
  const composed = whole?.composed ?? {};
  const took = row.started_ms === undefined ? null : (row.ended_ms ?? now) - row.started_ms;
  return html`<section class="node" aria-label="The selected step">
    <h2><bdi>${line(node.name)}</bdi><button type="button" class="close" aria-label="Close" @click=${close}>×</button></h2>
    <p class="path"><bdi>${line(row.path)}</bdi></p>
    ${buttonsOf(about, runId, node, living)}
    <dl>
      ${fact("state", html`<b class="tone-${about.looks[row.state].tone}">${about.looks[row.state].mark} ${row.state}</b>`)}
      ${fact("status", row.status)}
      ${fact("message", row.message || whole?.message ? text(whole?.message || row.message) : "")}
      ${fact("rule and sum", row.rule ? text(row.rule) : "")}
      ${Object.entries(NAMES).map(([name, label]) => {
        const value = composed[name] ?? (name === "outside_id" ? whole?.outside_id : undefined);
        return value === 0 ? nothing : fact(label, value == null || value === "" ? "" : name.endsWith("_s") ? duration(value * 1000) : text(value));
      })}
      ${fact("argument", told?.argin == null ? "" : text(told.argin))}
      ${fact("devices", (whole?.devices?.length ? whole.devices : row.devices)?.length ? text((whole?.devices?.length ? whole.devices : row.devices).join(", ")) : "")}
      ${fact("failed devices", whole?.failed_devices?.length ? text(whole.failed_devices.join(", ")) : "")}
      ${fact("attempt", row.attempt ?? 1)}
      ${fact("began", row.started_ms === undefined ? "" : instant(row.started_ms * 1e6))}
      ${fact("ended", row.ended_ms === undefined ? "" : instant(row.ended_ms * 1e6))}
      ${fact("took", took === null ? "" : duration(took))}
      ${fact("usually", usual === undefined ? "" : duration(usual))}
      ${fact("no answer since", row.silent_since_ms === undefined || !living ? "" : html`${instant(row.silent_since_ms * 1e6)}, ${duration(now - row.silent_since_ms)}`)}
      ${fact("waits since", row.waits_since_ms === undefined ? "" : html`${instant(row.waits_since_ms * 1e6)}, ${duration(now - row.waits_since_ms)}`)}
      ${fact("last heard of", row.last_ms === undefined ? "" : instant(row.last_ms * 1e6))}
      ${fact("cause", whole?.finished?.cause ? causeOf(whole.finished.cause) : "")}
      ${fact("result", whole?.finished?.result_value != null ? html`<pre>${shown(JSON.stringify(whole.finished.result_value, null, 1))}</pre>` : "")}
      ${fact("plots", whole?.pages?.length ? whole.pages.map((page) => html`<a href=${`/plots?run=${encodeURIComponent(runId)}&name=${encodeURIComponent(page.display_name)}`}><bdi>${line(page.display_name)}</bdi></a> `) : "")}
    </dl>
    ${whole?.analysis ? analysisOf(runId, row.path, whole.analysis) : nothing}
    ${whole?.notes?.length ? html`<h3>Attempts and notes</h3><ol class="notes">${whole.notes.map((note) => html`<li>
      ${instant(note.wall_ns)} <b>${line(note.topic)}</b> <bdi>${shown(note.text)}</bdi>
      ${note.request ? html`<br>asked by <bdi>${line(note.request.who)}</bdi>${note.request.why ? html`: <bdi>${shown(note.request.why)}</bdi>` : nothing}` : nothing}
      ${note.cause ? html`<details><summary>cause</summary>${causeOf(note.cause)}</details>` : nothing}</li>`)}</ol>` : nothing}
    ${told?.error ? html`<p role="alert"><bdi>${shown(told.error)}</bdi></p>` : nothing}
  </section>`;
}
