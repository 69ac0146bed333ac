// Resuming a run: its plan first, then the resume. A lost run is recovered before.

import { html, nothing, render } from "./vendor/lit-html.js";
import { DRY_RUN_MS, begin, errorView, refusedView, rememberName, rememberedName } from "./starting.js";
import { line, send, shown } from "./words.js";

const TOLD = 200; // leaves of one action that are listed
const WORDS = { redo: "Run again", reuse: "Taken over", skip: "Not part of the tree any more" };

// The steps of a resume, and what moves it. What is not listed changes nothing.
const MOVES = {
  reading: { plan: "planned", refused: "refused" },
  planned: { begin: "beginning" },
  beginning: { refused: "refused", again: "reading" },
  refused: { again: "reading" },
};

export function openResume(about, runId, visit) {
  const dialog = document.getElementById("dialog");
  const address = `/api/runs/${encodeURIComponent(runId)}`;
  const state = { step: "reading", plan: null, error: null, refused: null };
  const isOver = () => !dialog.open;

  const move = (request) => {
    const next = MOVES[state.step][request];
    if (next) state.step = next;
    return next !== undefined;
  };

  const go = (event) => {
    event.preventDefault();
    dialog.close();
    visit(event.currentTarget.getAttribute("href"));
  };

  async function readPlan() {
    Object.assign(state, { plan: null, error: null, refused: null });
    draw();
    try {
      state.plan = await send(`${address}/resume-plan`, {}, DRY_RUN_MS);
      move("plan");
    } catch (error) {
      state.error = error;
      move("refused");
    }
    draw();
    dialog.querySelector("textarea, button.main")?.focus();
  }

  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    if (!move("begin")) return;
    const who = String(form.get("who") ?? "").trim();
    rememberName(who);
    draw();
    const plan = state.plan;
    try {
      const told = plan.is_lost
        ? await begin(`${address}/recover`, {}, isOver)
        : await begin(`${address}/resume`, { digest: plan.digest, run_id: plan.new_run_id, hold: form.get("hold") !== null, who, why: String(form.get("why") ?? "") }, isOver);
      if (told === null) return;
      if (plan.is_lost && told.exit_code !== null && told.exit_code !== 2) { move("again"); await readPlan(); return; }
      if (told.fate === "recorded") { dialog.close(); visit(`/runs/${encodeURIComponent(plan.new_run_id)}`); return; }
      state.refused = told;
    } catch (error) {
      state.error = error;
    }
    move("refused");
    draw();
  }

  const leaves = (action) => {
    const found = state.plan.leaves.filter((leaf) => leaf.action === action);
    if (found.length === 0) return nothing;
    return html`<details ?open=${action === "redo"}><summary>${WORDS[action]}: ${found.length.toLocaleString()}</summary><ul class="plan">${found.slice(0, TOLD).map((leaf) => html`<li data-action=${action} data-path=${leaf.path}>
      <bdi>${line(leaf.path)}</bdi> <span class="calm"><bdi>${shown(leaf.why)}</bdi></span>
      ${leaf.doubt ? html`<br><b class="tone-warn">May run twice: <bdi>${shown(leaf.doubt)}</bdi></b>` : nothing}</li>`)}${found.length > TOLD ? html`<li>and ${(found.length - TOLD).toLocaleString()} more</li>` : nothing}</ul></details>`;
  };

  const planned = () => {
    const plan = state.plan;
    const said = plan.said.length ? html`<ul class="calm">${plan.said.map((text) => html`<li><bdi>${shown(text)}</bdi></li>`)}</ul>` : nothing;
    if (plan.is_lost) return html`<p>Its runner is gone. First it is recovered: what still runs is followed to its end, and nothing is started.</p>${said}`;
    return html`${said}${["redo", "reuse", "skip"].map(leaves)}
      ${plan.is_done ? html`<p>Nothing is left to do.</p>` : html`
        <label class="option"><input type="checkbox" name="hold"> Hold a step that fails until a person decides on it</label>
        <label>Reason<textarea name="why" rows="2" maxlength="4096"></textarea></label>
        <label>Your name<input name="who" maxlength="200" .defaultValue=${rememberedName()} placeholder=${about.who} autocomplete="name"></label>`}`;
  };

  const draw = () => {
    const busy = state.step === "beginning";
    const plan = state.plan;
    render(html`<form @submit=${submit}>
      <h2 id="dialog-title">Resume the run</h2>
      <p class="path"><bdi>${line(runId)}</bdi></p>
      <div aria-live="polite">${state.step === "reading" ? html`<p>Making the plan …</p>` : nothing}${busy ? html`<p>${plan.is_lost ? "Recovering …" : "Starting …"}</p>` : nothing}</div>
      ${plan && !state.refused && !state.error ? planned() : nothing}
      ${state.error ? errorView(state.error, go) : nothing}
      ${state.refused ? refusedView(state.refused) : nothing}
      <p class="buttons">
        ${plan && !plan.is_done && (state.step === "planned" || busy) ? html`<button class="main" ?disabled=${busy}>${plan.is_lost ? "Recover" : "Resume"}</button>` : nothing}
        ${state.step === "refused" ? html`<button type="button" @click=${() => { move("again"); readPlan(); }}>Look again</button>` : nothing}
        <button type="button" id="dialog-close" @click=${() => dialog.close()}>Close</button></p>
    </form>`, dialog);
  };

  draw();
  if (!dialog.open) dialog.showModal();
  readPlan();
}
