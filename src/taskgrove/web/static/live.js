// A connection that goes on after every break. A browser's EventSource gives up for good after one
// answer of a proxy such as 502, so each attempt is a new one, made here.

import { Refusal, read } from "./words.js";

// The states of a connection, and what moves it. What is not listed changes nothing.
const MOVES = {
  connecting: { opened: "live", failed: "waiting", silent: "waiting", stopped: "closed" },
  live: { failed: "waiting", silent: "waiting", stopped: "closed" },
  waiting: { due: "connecting", stopped: "closed" },
  closed: {},
};
const SILENT_MS = 4000; // the server gives a sign of life each second
const BEHIND_MS = 2500;
const PAUSES_MS = [300, 700, 1500, 3000];

export class Live {
  // address(): where to connect now; handlers: by kind of message; changed(): the badge may differ.
  constructor(address, handlers, changed) {
    this.address = address;
    this.handlers = handlers;
    this.changed = changed;
    this.state = "connecting";
    this.heardAt = performance.now();
    this.heardWall = Date.now();
    this.serverMs = Date.now();
    this.readMs = this.serverMs;
    this.failures = 0;
    this.attempt = 0;
    this.why = "";
    this.source = null;
    this.watch = setInterval(() => this.look(), 500);
    this.woken = () => this.look();
    for (const kind of ["visibilitychange", "resume", "pageshow"]) document.addEventListener(kind, this.woken);
    addEventListener("online", this.woken);
    this.connect();
  }

  move(request) {
    const next = MOVES[this.state][request];
    if (next === undefined || next === this.state) return next !== undefined;
    this.state = next;
    if (next === "waiting") this.wait();
    if (next === "connecting") this.connect();
    if (next !== "live") this.drop();
    this.changed();
    return true;
  }

  drop() {
    if (this.state !== "connecting" && this.source) {
      this.source.close();
      this.source = null;
    }
  }

  wait() {
    const pause = PAUSES_MS[Math.min(this.failures++, PAUSES_MS.length - 1)];
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.move("due"), pause * (0.8 + 0.4 * Math.random()));
  }

  async connect() {
    if (this.source) this.source.close();
    this.triedAt = performance.now();
    const attempt = ++this.attempt;
    if (this.failures > 0) {
      // What the server says is told; an EventSource does not tell it.
      try {
        await read("/api/about", SILENT_MS);
        if (attempt !== this.attempt || this.state !== "connecting") return;
        this.why = "";
      } catch (error) {
        if (attempt !== this.attempt) return;
        this.why = error instanceof Refusal && error.code === 403 ? error.message : "";
        this.move("failed");
        return;
      }
    }
    const source = new EventSource(this.address());
    this.source = source;
    source.onerror = () => source === this.source && this.move("failed");
    for (const kind of ["beat", ...Object.keys(this.handlers)]) {
      source.addEventListener(kind, (event) => source === this.source && this.hear(kind, event));
    }
  }

  hear(kind, event) {
    this.heardAt = performance.now();
    this.heardWall = Date.now();
    const data = JSON.parse(event.data);
    if (kind === "beat") {
      this.serverMs = data.now_ms;
      this.readMs = data.read_ms;
      this.changed();
    } else {
      this.failures = 0; // a sign of life alone does not show that the server can answer
      this.handlers[kind](data, event.lastEventId);
    }
    this.move("opened");
  }

  look() {
    const last = Math.max(this.heardAt, this.state === "connecting" ? this.triedAt : 0);
    // A tab that slept has a wall clock that went on.
    const silent = Math.max(performance.now() - last, this.state === "live" ? Date.now() - this.heardWall : 0);
    if (silent > SILENT_MS) {
      this.move("silent");
      if (this.state === "waiting" && !document.hidden && silent > 3 * SILENT_MS && this.failures <= 1) this.move("due");
    }
    if (this.state === "live") this.changed();
  }

  // The time of the server; it stands still while nothing is heard.
  now() {
    if (this.state !== "live") return this.serverMs;
    return this.serverMs + Math.min(performance.now() - this.heardAt, SILENT_MS);
  }

  badge() {
    if (this.state === "live") {
      const behind = this.serverMs - this.readMs;
      return behind > BEHIND_MS
        ? { kind: "behind", words: `${Math.round(behind / 1000)} s behind: the record cannot be read` }
        : { kind: "live", words: "live" };
    }
    return { kind: "broken", since: this.heardWall, why: this.why, words: "not connected" };
  }

  close() {
    this.move("stopped");
    clearInterval(this.watch);
    clearTimeout(this.timer);
    for (const kind of ["visibilitychange", "resume", "pageshow"]) document.removeEventListener(kind, this.woken);
    removeEventListener("online", this.woken);
  }
}
