// The places to go, as the page's own markup names them: {place: {title, key}}.

export const PLACES = Object.fromEntries(
  [...document.querySelectorAll("[data-place]")].map((link) => [
    link.dataset.place,
    { title: link.textContent, key: link.dataset.key },
  ]),
);

export const placeOfKey = (key) =>
  Object.keys(PLACES).find((place) => PLACES[place].key === key) ?? null;
