"""Other people's notes, the embedded base, the command line: sync, search and sourced answers."""

import json
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
# Of the questions that weights were chosen on, some that any later choice must still get right.
ANSWERED = ("potato crisps", "pretzel", "limoncello")
REFUSED = ("football World Cup",)


@pytest.fixture(scope="module")
def questions() -> list[dict]:
    return json.loads((BENCH / "dev_questions.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_recipes_are_read_found_quoted_and_refused(
    tramontane, shared_data, smollm2_path, questions
):
    folder = shared_data / "notes" / "recipes-public-domain" / "text"
    tramontane.works("pull", smollm2_path)
    said = tramontane.works("collections", "add", folder, "--as", "recipes-public-domain")
    assert "411 notes added" in said
    base = ("--base", smollm2_path.stem)
    for words in ANSWERED:
        (item,) = (item for item in questions if words in item["question"])
        answer = tramontane.json(*base, "ask", item["question"])
        path = item["note"].removeprefix("recipes-public-domain/")
        sources = {source["number"]: source for source in answer["sources"]}
        holding = [
            sentence
            for sentence in answer["sentences"]
            if any(fact in sentence["text"] for fact in item["accept"])
        ]
        assert holding, answer
        assert path in {sources[sentence["source"]]["path"] for sentence in holding}
        for sentence in answer["sentences"]:
            note = (folder / sources[sentence["source"]]["path"]).read_text(encoding="utf-8")
            lines = note.splitlines()[sentence["first_line"] - 1 : sentence["last_line"]]
            words_there = " ".join(lines).split()
            assert set(sentence["text"].split()) <= set(words_there)
    for words in REFUSED:
        (item,) = (item for item in questions if words in item["question"])
        answer = tramontane.json(*base, "ask", item["question"])
        assert answer["abstained"], answer
        assert answer["sentences"] == []
