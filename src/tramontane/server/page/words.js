// Numbers and counts as the page says them.

export const percent = (share) => {
  const value = share * 100;
  if (value > 0 && value < 9.95) return `${value.toFixed(1)} %`;
  return `${Math.round(value)} %`;
};

export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

const scaled = (value, units, base) => {
  let place = 0;
  for (; value >= base && place < units.length - 1; place += 1) value /= base;
  return `${value.toFixed(value < 10 && place ? 1 : 0)} ${units[place]}`;
};

export const bytes = (value) => scaled(value, ["B", "kB", "MB", "GB", "TB"], 1000);

export const parameters = (value) =>
  `${scaled(value / 1e6, ["million", "billion"], 1000)} parameters`;

export const duration = (seconds) => {
  if (seconds < 90) return count(Math.max(1, Math.round(seconds)), "second");
  if (seconds < 5400) return count(Math.round(seconds / 60), "minute");
  return count(Math.round(seconds / 3600), "hour");
};

// The day of a moment, and the moment, as a person says them.
export function day(moment) {
  const days = (date) => Math.floor((date - date.getTimezoneOffset() * 60_000) / 86_400_000);
  const ago = days(new Date()) - days(new Date(moment));
  if (ago <= 1) return ago === 1 ? "Yesterday" : "Today";
  return new Date(moment).toLocaleDateString("en", { dateStyle: "long" });
}

export const time = (moment) =>
  new Date(moment).toLocaleString("en", { dateStyle: "long", timeStyle: "short" });

// What forgetting a collection took from an answer; empty where nothing.
export function lost({ sentences, passages, own_words: ownWords, question, answer }) {
  if (answer) return "No answer is kept: what it had looked in was forgotten.";
  const parts = [
    sentences && count(sentences, "sentence"),
    passages && count(passages, "passage"),
    ownWords && "its own words",
    question && "words of the question",
  ].filter(Boolean);
  if (!parts.length) return "";
  const isOne = parts.length === 1 && sentences + passages === 1;
  const said = `${list(parts)} ${isOne ? "was" : "were"} forgotten with a collection.`;
  return said[0].toUpperCase() + said.slice(1);
}

export const lines = (first, last) => (first === last ? `line ${first}` : `lines ${first}–${last}`);

export const shortHash = (hash) => (hash || "").slice(0, 12);

export const list = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;

// What perplexity before and after means, in words and with both numbers.
export function surprise(before, after) {
  if (!(before > 0) || !(after > 0))
    return "How it does on notes it had not seen was not measured.";
  const change = 1 - after / before;
  const numbers = `perplexity ${before.toFixed(1)} without it, ${after.toFixed(1)} with it`;
  if (Math.abs(change) < 0.005) {
    return `On notes it had not seen, it changes nothing to speak of (${numbers}).`;
  }
  const word = change > 0 ? "less" : "more";
  return `On notes it had not seen, it is ${percent(Math.abs(change))} ${word} surprised (${numbers}).`;
}

export const markMeaning = {
  supported: "Supported by your notes",
  weak: "Weakly supported by your notes",
  unsupported: "Not in your notes",
};
