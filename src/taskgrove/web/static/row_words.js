// What a line of the tree says besides its name and its state.

import { duration, line, timeText } from "./words.js";

const STALE_MS = 10_000; // a running step that was not heard of for so long says so
const LONG = 1.5; // so many times its usual duration, and a second more, is unusual
const LONG_MS = 1000;
const NAMED = 2;
const ENDED = new Set(["completed", "skipped", "degraded", "failed", "rejected", "aborted", "not found", "accepted", "left out"]);

const since = (ms, now) => `since ${timeText(ms)}, ${duration(now - ms)}`;

// The steps that a group waits for: ["scan, beam-2 and 3 more", since when].
function waitedFor(node) {
  const names = [];
  let more = 0;
  let from;
  for (const child of node.children) {
    if (child.row.started_ms === undefined || ENDED.has(child.row.state)) continue;
    from = Math.min(from ?? Infinity, child.row.started_ms);
    names.length < NAMED ? names.push(child.name) : more++;
  }
  return names.length ? [`${names.map((name) => line(name, 80)).join(", ")}${more ? ` and ${more.toLocaleString()} more` : ""}`, from] : null;
}

// A wait or a silence of a node as { words, tone }; null: there is none to tell of.
export function waitWords(node, now, living) {
  const row = node.row;
  if (!living || row.ended_ms !== undefined) return null;
  if (row.silent_since_ms !== undefined) return { words: `no answer for ${duration(now - row.silent_since_ms)}, since ${timeText(row.silent_since_ms)}`, tone: "warn" };
  if (row.waits_since_ms !== undefined) {
    const until = row.waits_until_ms === undefined ? "" : row.state === "delayed"
      ? `, next attempt in ${duration(row.waits_until_ms - now)}` : `, until ${timeText(row.waits_until_ms)}`;
    return { words: `${row.state === "parked" ? "waits for the end of the pause" : row.state} ${since(row.waits_since_ms, now)}${until}`, tone: "warn" };
  }
  if (row.state !== "running") return null;
  if (node.children.length) {
    const found = waitedFor(node);
    return found && { words: `waits for ${found[0]} ${since(found[1], now)}`, tone: "soft" };
  }
  const heard = Math.max(row.last_ms ?? 0, row.started_ms ?? 0);
  return now - heard > STALE_MS ? { words: `last heard of ${duration(now - heard)} ago`, tone: "soft" } : null;
}

// The usual duration beside the one of a step that runs, or that took unusually long.
export function usualWords(row, took, usual) {
  if (usual === undefined || took === null) return null;
  const long = took > usual * LONG && took > usual + LONG_MS;
  return row.ended_ms === undefined || long ? { words: `usual ${duration(usual)}`, long } : null;
}
