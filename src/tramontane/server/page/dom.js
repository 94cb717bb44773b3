// Builds elements. Text goes in as text nodes only: notes may hold anything, and nothing in them
// is ever read as markup (the page's policy forbids innerHTML altogether).

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in OWN_PROPERTIES) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== undefined && child !== null && child !== false)
      .map(asNode),
  );
  return element;
}

// Marks that turn the direction of what follows: they could make a file's name or a line number
// read as another. One that overrides is shown as what it is; the others end with their text.
const OVERRIDES = /[\u202d\u202e]/g;
const TURNS = /[\u202a\u202b\u2066-\u2068]/;

export function shown(text) {
  return text.replace(OVERRIDES, "\ufffd");
}

function asNode(child) {
  if (typeof child !== "string") return child;
  if (!TURNS.test(child)) return shown(child);
  const isolated = document.createElement("bdi");
  isolated.textContent = shown(child);
  return isolated;
}

// What must be set as a property: the state of custom elements and of form fields.
const OWN_PROPERTIES = {
  room: 1,
  answer: 1,
  sentence: 1,
  selected: 1,
  sources: 1,
  expert: 1,
  collection: 1,
  job: 1,
  audit: 1,
  figure: 1,
  parts: 1,
  isOpen: 1,
  certificate: 1,
  notes: 1,
  value: 1,
  checked: 1,
};

// Text for screen readers only.
export function aside(text) {
  return make("span", { class: "unseen" }, text);
}

export function clear(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(Boolean).map(asNode));
  return element;
}

let numIds = 0;
export function newId(word) {
  numIds += 1;
  return `${word}-${numIds}`;
}
