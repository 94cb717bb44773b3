"""`support label` and `support calibrate`: keys, undoing, going on later, export, the promise."""

import json

import pytest

BACKED = "Garlic went in on 28 October, forty cloves of Germidour."
INVENTED = "The greenhouse in Lisbon was sold to Ferdinand for 9,999 euros."
THIRD = "The compost heap was turned in March."


@pytest.fixture
def labeller(new_home, garden):
    home = new_home()
    home.works("collections", "add", garden)
    (home.home / "text.md").write_text(f"{BACKED}\n\n{INVENTED}\n\n{THIRD}\n", encoding="utf-8")
    return home


def verdicts(home) -> dict[str, str | None]:
    told = json.loads(home.works("support", "label", "--json"))
    return {label["sentence"]: label["verdict"] for label in told["labels"]}


def test_a_sitting_is_gone_on_with_and_its_last_verdict_taken_back(labeller):
    said = labeller.works("support", "label", "text.md", stdin="s\nm\nx\nq\n")
    assert "3 sentences, 3 of them new" in said
    assert "1 sentences labelled, 1 of them supported" in said
    assert ".md, lines" in said
    assert sorted(map(str, verdicts(labeller).values())) == ["None", "None", "supported"]
    said = labeller.works("support", "label", "text.md", stdin="z\nu\np\nk\n")
    assert "3 sentences, 0 of them new" in said
    assert "taken back" in said
    assert sorted(verdicts(labeller).values()) == ["partly", "skipped", "unsupported"]


def test_labels_go_into_a_file_and_back(labeller, garden):
    labeller.works("support", "label", "text.md", stdin="s\nu\n")
    exported = labeller.works("support", "label", "--json")
    (labeller.home / "labels.json").write_text(exported, encoding="utf-8")
    labeller.works("collections", "add", garden, "--as", "other")
    said = labeller.works("support", "label", "--in", "other", "--import", "labels.json")
    assert "3 labels read" in said
    again = json.loads(labeller.works("support", "label", "--in", "other", "--json"))
    for key in ("sentence", "score", "verdict", "passages", "checker", "kind"):
        before = [label[key] for label in json.loads(exported)["labels"]]
        assert [label[key] for label in again["labels"]] == before


def test_calibrating_says_the_promise_or_what_is_missing(labeller):
    assert "Nothing is labelled in garden yet" in labeller.works("support", "calibrate")
    labeller.works("support", "label", "text.md", stdin="s\nu\n")
    refused = labeller.works("support", "calibrate")
    assert "garden, text of your own: No promise yet: 2 labelled sentences" in refused
    assert "label 20 more" in refused
    told = json.loads(labeller.works("support", "label", "--json"))
    label = told["labels"][0]
    many = [
        label
        | {"sentence": f"Sentence {n}.", "score": 0.9 if n < 60 else 0.2}
        | {"verdict": "supported" if n < 60 else "unsupported"}
        for n in range(90)
    ]
    (labeller.home / "many.json").write_text(json.dumps({"labels": many}), encoding="utf-8")
    labeller.works("support", "label", "--import", "many.json")
    made = labeller.json("support", "calibrate", "--error", "0.2")["calibrations"][0]
    assert made["error"] == 0.2
    assert "at most 20% are not, on text like your calibration set" in made["promise"]
    checked = labeller.json("support", "text.md")["sentences"]
    assert {one["promise"] for one in checked} == {made["promise"]}
    for one in checked:
        assert (one["verdict"] == "supported") == (one["score"] >= made["threshold"])
    assert "at most 20% are not" in labeller.works("support", "text.md")


def test_sentences_whose_note_changed_are_left_out(labeller, tmp_path):
    notes = tmp_path / "mine"
    notes.mkdir()
    (notes / "leek.md").write_text(f"# Leeks\n\n{BACKED}\n", encoding="utf-8")
    labeller.works("collections", "add", notes, "--as", "mine")
    labeller.works("support", "label", "text.md", "--in", "mine", stdin="q\n")
    (notes / "leek.md").write_text("# Leeks\n\nOther words about Germidour.\n", encoding="utf-8")
    labeller.works("sync", "mine")
    told = json.loads(labeller.works("support", "label", "--in", "mine", "--json"))
    assert any(label["verdict"] is None for label in told["labels"])
    (labeller.home / "more.md").write_text("Germidour is a garlic.\n", encoding="utf-8")
    said = labeller.works("support", "label", "more.md", "--in", "mine", stdin="s\ns\ns\n")
    assert "their notes have changed since" in said


def test_bad_input_is_refused_in_words(labeller, garden):
    assert "no labels can be read" in labeller.fails("support", "label", "--import", "text.md")
    (labeller.home / "bad.json").write_text('{"labels": [{"kind": "own"}]}', encoding="utf-8")
    assert "labels.0.sentence" in labeller.fails("support", "label", "--import", "bad.json")
    assert "has not passed the writer's check" in labeller.fails("support", "label")
    assert "no collection 'cellar'" in labeller.fails("support", "calibrate", "--in", "cellar")
    labeller.works("collections", "add", garden, "--as", "other")
    assert "say which with --in" in labeller.fails("support", "calibrate")
    usage = labeller.run("support", "calibrate", "--in", "garden", "--error", "3")
    assert usage.returncode == 2
