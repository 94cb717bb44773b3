// The words of a sentence, each with the part that every expert has in its tokens.

// Returns [{begin, end, shares}]; null where tokens and text are not the same letters.
export function voicedWords(text, tokens) {
  const tokenAt = lettersOf(text, tokens);
  if (!tokenAt) return null;
  return [...text.matchAll(/\S+/g)].map(({ 0: word, index: begin }) => {
    const end = begin + word.length;
    const own = [...new Set(tokenAt.slice(begin, end))].map((place) => tokens[place]);
    return { begin, end, shares: meanShares(own) };
  });
}

// Which token each letter comes from. Tokens also hold what a sentence is shown without: numbers
// of sources, spaces around it. A letter whose bytes lie in two tokens comes as U+FFFD in both.
function lettersOf(text, tokens) {
  const tokenAt = [];
  let isBroken = false;
  for (const [place, token] of tokens.entries()) {
    for (const letter of token.text) {
      const at = tokenAt.length;
      const hidden = isBroken && text.codePointAt(at) > 127 ? letterAt(text, at).length : 0;
      if (letter === letterAt(text, at)) fill(tokenAt, letter, place);
      else if (letter === "\ufffd") isBroken = true;
      else if (hidden && letter === letterAt(text, at + hidden)) {
        fill(tokenAt, letterAt(text, at), place);
        fill(tokenAt, letter, place);
        isBroken = false;
      }
    }
  }
  const rest = text.slice(tokenAt.length);
  if (rest && isBroken && rest === letterAt(rest, 0)) fill(tokenAt, rest, tokens.length - 1);
  return tokenAt.length === text.length ? tokenAt : null;
}

const letterAt = (text, at) => (at < text.length ? String.fromCodePoint(text.codePointAt(at)) : "");

const fill = (tokenAt, letter, place) => tokenAt.push(...Array(letter.length).fill(place));

function meanShares(tokens) {
  const mean = {};
  for (const { shares } of tokens) {
    for (const [name, share] of Object.entries(shares)) {
      mean[name] = (mean[name] ?? 0) + share / tokens.length;
    }
  }
  return mean;
}
