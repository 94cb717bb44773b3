// What a sync would do, or did: counts in a sentence, paths in lists, what was left out and why.

import { make } from "/dom.js";
import { count } from "/words.js";

const SHOWN_AT_ONCE = 200;

export function sentenceOf(report, verbs) {
  const parts = [
    [report.added, verbs.added],
    [report.changed, verbs.changed],
    [report.removed, verbs.removed],
  ].filter(([paths]) => paths.length);
  const rest = `${count(report.unchanged.length, "note")} unchanged`;
  return `${[...parts.map(([paths, verb]) => `${paths.length.toLocaleString("en")} ${verb}`), rest].join(", ")}.`;
}

export const WOULD = { added: "to add", changed: "to read anew", removed: "to remove" };
export const DID = { added: "added", changed: "read anew", removed: "removed" };

export const changesNothing = (report) =>
  !report.added.length && !report.changed.length && !report.removed.length;

export function reportLists(report, verbs) {
  return [
    pathList(verbs.added, report.added),
    pathList(verbs.changed, report.changed),
    pathList(verbs.removed, report.removed),
    pathList(
      "left out",
      report.skipped.map(({ path, reason }) => `${path}: ${reason}`),
    ),
    pathList(
      "read with a remark",
      (report.remarks ?? []).map(([path, remark]) => `${path}: ${remark}`),
    ),
  ].filter(Boolean);
}

export function pathList(name, paths) {
  if (!paths.length) return null;
  const beyond = paths.length - SHOWN_AT_ONCE;
  return make(
    "details",
    { class: "paths", open: paths.length <= 5 },
    make("summary", {}, `${paths.length.toLocaleString("en")} ${name}`),
    make(
      "ul",
      {},
      paths.slice(0, SHOWN_AT_ONCE).map((path) => make("li", {}, path)),
      beyond > 0 && make("li", {}, `and ${beyond.toLocaleString("en")} more`),
    ),
  );
}
