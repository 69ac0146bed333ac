// What a person may ask of a run. Every request goes the way of the command line's verbs.

import { html, nothing, render } from "./vendor/lit-html.js";
import { rememberName, rememberedName } from "./starting.js";
import { line, send, shown } from "./words.js";

export const ACTS = {
  abort: { title: "Abort the run", effect: "Running steps are aborted on their devices, and no further one starts. A clean-up still runs.", option: ["stop_finally", "Stop the clean-up, too"] },
  pause: { title: "Pause the run", effect: "No further step starts. Running steps go on, and so do their timeouts." },
  "pause-before": { verb: "pause", title: "Pause before this step", effect: "The run pauses when this step is about to start." },
  continue: { title: "Continue the run", effect: "The steps that the pause kept back start." },
  retry: { title: "Try the step again", effect: "A new attempt, with the whole timeout.", option: ["abort_first", "First abort an earlier attempt that may still be at work"] },
  accept: { title: "Accept the step", effect: "The step counts as done, marked with your name; the run ends degraded at best.", needsWhy: true },
  skip: { title: "Skip the step", effect: "The step is left out, or its failure stands; later steps run." },
  fail: { title: "Let the step fail", effect: "The failure stands, as without a hold." },
  verdict: { title: "Give a verdict", effect: "A verdict stands beside the record; the outcome stays as it is.", needsWhy: true },
};

export function openAct(about, runId, act, path = "") {
  const dialog = document.getElementById("dialog");
  const known = ACTS[act];
  const state = { busy: false, told: null, error: null };

  async function submit(event) {
    event.preventDefault();
    if (state.busy) return;
    const form = new FormData(event.target);
    const who = String(form.get("who") ?? "").trim();
    rememberName(who);
    const data = { path, why: String(form.get("why") ?? ""), who };
    if (act === "verdict") data.verdict = String(form.get("verdict"));
    else data.verb = known.verb ?? act;
    if (known.option) data[known.option[0]] = form.get("option") !== null;
    Object.assign(state, { busy: true, told: null, error: null });
    draw();
    try {
      state.told = await send(`/api/runs/${encodeURIComponent(runId)}/${act === "verdict" ? "verdicts" : "requests"}`, data);
    } catch (error) {
      state.error = error;
    }
    state.busy = false;
    draw();
    dialog.querySelector(state.told ? "#dialog-close" : "textarea")?.focus();
  }

  const draw = () => render(html`
    <form @submit=${submit}>
      <h2 id="dialog-title">${known.title}</h2>
      ${path ? html`<p class="path"><bdi>${line(path)}</bdi></p>` : nothing}
      <p>${known.effect}</p>
      ${state.told ? html`<div role="status" class="told ${state.told.fate}">${state.told.words.map((words) => html`<p><bdi>${shown(words)}</bdi></p>`)}</div>` : html`
        ${act === "verdict" ? html`<label>Verdict <select name="verdict">
          <option value="ok">treat as OK when the run is resumed</option>
          <option value="acknowledged">acknowledged</option><option value="note" selected>a note</option></select></label>` : nothing}
        <label>Reason${known.needsWhy ? " (needed)" : ""}<textarea name="why" rows="3" maxlength="4096" ?required=${known.needsWhy}></textarea></label>
        <label>Your name<input name="who" maxlength="200" .defaultValue=${rememberedName()} placeholder=${about.who} autocomplete="name"></label>
        ${known.option ? html`<label class="option"><input type="checkbox" name="option"> ${known.option[1]}</label>` : nothing}
        ${state.error ? html`<p role="alert" class="told refused"><bdi>${shown(state.error.message)}</bdi>${state.error.hint ? html`<br><bdi>${shown(state.error.hint)}</bdi>` : nothing}</p>` : nothing}`}
      <p class="buttons">
        ${state.told ? nothing : html`<button class="main" ?disabled=${state.busy}>${state.busy ? "Asking …" : known.title}</button>`}
        <button type="button" id="dialog-close" @click=${() => dialog.close()}>${state.told ? "Close" : "Cancel"}</button>
      </p>
    </form>`, dialog);

  draw();
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("textarea")?.focus();
}
