"""A long answer stays fluid: what one more sentence touches doesn't grow with those before it."""

from collections.abc import Iterator

import pytest
from browser_visit import Visit, expect

from tramontane.writing.events import Done, Event, Sentence, Sources

pytestmark = pytest.mark.usefixtures("browser")

NUM_SENTENCES, NUM_WORDS = 500, 20
# Counts by sentence the nodes that were added, removed or changed anywhere in the page.
WATCH = """() => {
  window.touched = [];
  const size = (node) => 1 + (node.querySelectorAll?.("*").length ?? 0);
  const sizes = (nodes) => [...nodes].reduce((sum, node) => sum + size(node), 0);
  new MutationObserver((changes) => {
    let numTouched = 0;
    let numSentences = 0;
    for (const { type, addedNodes, removedNodes } of changes) {
      numTouched += type === "childList" ? sizes(addedNodes) + sizes(removedNodes) : 1;
      numSentences += [...addedNodes].filter((n) => n.localName === "marked-sentence").length;
    }
    if (numSentences) window.touched.push(numTouched / numSentences);
  }).observe(document.body, {
    subtree: true, childList: true, attributes: true, characterData: true,
  });
}"""


def test_ten_thousand_words_touch_no_more_for_each_sentence_than_ten(visit: Visit):
    events = visit.desk.events

    def long(*args) -> Iterator[Event]:
        (sources,) = (event for event in events(*args) if isinstance(event, Sources))
        yield sources
        for number in range(NUM_SENTENCES):
            text = " ".join([f"Sentence {number}", *["garlic"] * (NUM_WORDS - 3), "grows."])
            yield Sentence(text, "prose", 1, 1, 3, 0.9, "supported", {"garden": 0.3}, 0.9)
        yield Done(2.5, NUM_SENTENCES * NUM_WORDS)

    visit.desk.events = long
    page = visit.open()
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    page.evaluate(WATCH)
    visit.ask("prose about garlic")
    expect(page.get_by_text(f"{NUM_SENTENCES} sentences from")).to_be_visible()
    assert len(visit.named("article", "Answer").inner_text().split()) >= NUM_SENTENCES * NUM_WORDS
    touched = page.evaluate("window.touched")
    tenth = max(1, len(touched) // 10)
    first, last = sorted(touched[:tenth]), sorted(touched[-tenth:])
    assert last[len(last) // 2] <= first[len(first) // 2] + 1
    # The first few may come with the screen around them.
    assert max(touched[tenth:]) < 60
