// Starting a process of the server, and following it until the record has its run.

import { html, nothing } from "./vendor/lit-html.js";
import { line, mayPass, read, send, shown } from "./words.js";

const LOOK_MS = 300;
const TRIES = 10; // so often a start whose answer was lost is asked for again
export const DRY_RUN_MS = 130_000; // the server itself gives up before
const NAME = "taskgrove-name";

export const rememberedName = () => { try { return localStorage.getItem(NAME) ?? ""; } catch { return ""; } };
export const rememberName = (name) => { try { localStorage.setItem(NAME, name); } catch { /* a browser that keeps nothing */ } };

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Send a start; return how it went once that is known: { fate: "recorded" | "refused" | "unknown", lines }.
// An answer that is lost is asked for again: a second request with the same id starts nothing.
export async function begin(address, data, isOver, follow = data.run_id) {
  for (let tries = 1; ; tries++) {
    if (isOver()) return null;
    try {
      const told = await send(address, data);
      return await followed(told.start_id ?? follow, isOver);
    } catch (error) {
      if (!mayPass(error) || tries === TRIES) throw error;
      await pause(4 * LOOK_MS);
    }
  }
}

async function followed(id, isOver) {
  while (!isOver()) {
    let told = { fate: "starting" };
    try {
      told = await read(`/api/starts/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!mayPass(error)) throw error;
    }
    if (told.fate !== "starting") return told;
    await pause(LOOK_MS);
  }
  return null;
}

// An error as the command line prints it, with its file and line where they are known.
export function errorView(error, go) {
  const told = error.told ?? {};
  const lines = told.lines?.length ? told.lines : [error.message, ...(told.file ? [`file: ${told.file}${told.line ? `, line ${told.line}` : ""}`] : []), ...(error.hint ? [`hint: ${error.hint}`] : [])];
  return html`<div role="alert" class="told refused">${lines.map((text) => html`<p><bdi>${shown(text)}</bdi></p>`)}${(told.resumed_by ?? []).map((run) => html`<p><a href="/runs/${encodeURIComponent(run.run_id)}" @click=${go}>Show run <bdi>${line(run.run_id)}</bdi></a> (${run.outcome ?? "removed since"})</p>`)}</div>`;
}

// The last words of a process that has ended, and made no run.
export function refusedView(told) {
  return html`<div role="alert" class="told refused"><p>${told.fate === "unknown"
    ? "The server was started anew meanwhile, and the record has no such run yet. The process said:"
    : html`The run did not begin${told.exit_code == null ? nothing : html` (exit code ${told.exit_code})`}. The process said:`}</p><pre>${shown(told.lines.join("\n") || "(nothing)")}</pre></div>`;
}
