// Texts for people, and data from the server. Whatever a device said is text, and stays text.

// Signs that do not show themselves, or that turn the text around them: they are written out.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

export function shown(text, limit = 20_000) {
  const whole = String(text ?? "");
  const kept = whole.length > limit ? `${whole.slice(0, limit)} … (${whole.length.toLocaleString()} characters)` : whole;
  return kept.replace(HIDDEN, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// One line of a text.
export const line = (text, limit = 400) => shown(String(text ?? "").replace(/\s+/g, " "), limit);

export function duration(ms) {
  if (ms == null || Number.isNaN(ms)) return "";
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")} min`;
  const h = Math.floor(s / 3600);
  if (h < 48) return `${h}:${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} h`;
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

const two = (number) => String(number).padStart(2, "0");

// Local time; the day only where it is another one.
export function timeText(ms, now = Date.now()) {
  if (ms == null) return "";
  const at = new Date(ms);
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return at.toDateString() === new Date(now).toDateString() ? clock : `${day} ${clock}`;
}

export const utcText = (ms) => (ms == null ? "" : `${new Date(ms).toISOString().replace("T", " ").slice(0, 19)} UTC`);

export const msOf = (ns) => (ns == null ? null : ns / 1e6);

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

export class Refusal extends Error {
  constructor(code, told) {
    super(told.error ?? `the server answered ${code}`);
    this.code = code;
    this.told = told;
    this.hint = told.hint ?? "";
  }
}

async function told(answer) {
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, data);
  return data;
}

// An answer that has not come by then never comes: a connection may break without a sign.
const PATIENCE_MS = 30_000;

async function asked(path, how, patience) {
  try {
    return await told(await fetch(path, { ...how, signal: AbortSignal.timeout(patience) }));
  } catch (error) {
    throw error instanceof Refusal ? error : new Error("the server does not answer");
  }
}

// Whether the same question may be answered later.
export const mayPass = (error) => !(error instanceof Refusal) || error.code >= 500;

export const read = (path, patience = PATIENCE_MS) => asked(path, { cache: "no-store" }, patience);

// Show lines of text that the server has in an element, read anew whenever it is unfolded.
export async function readInto(place, address) {
  try {
    const told = await read(address);
    place.textContent = told.lines.length ? told.lines.map((text) => shown(text)).join("\n") : "(nothing was written)";
  } catch (error) {
    place.textContent = shown(error.message);
  }
}

export const send = (path, data, patience = PATIENCE_MS) => asked(path, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(data),
}, patience);
