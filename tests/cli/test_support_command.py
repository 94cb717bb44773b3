"""`tramontane support`: any text, sentence by sentence, against the notes."""

from tramontane.cli.ask import Screen
from tramontane.writing.events import Done, FromMemory, Sentence

TEXT = (
    "Garlic went in on 28 October, forty cloves of Germidour.\n\n"
    "The greenhouse in Lisbon was sold to Ferdinand for 9,999 euros.\n"
)


def checked(reader, text: str) -> list[dict]:
    file = reader.home / "text.md"
    file.write_text(text, encoding="utf-8")
    return reader.json("support", file)["sentences"]


def test_a_sentence_of_the_notes_is_told_from_one_that_is_not(reader):
    found = reader.works("search", "garlic October cloves")
    assert "garlic" in found.lower()
    backed, invented = checked(reader, TEXT)
    assert backed["score"] > invented["score"]
    assert invented["verdict"] == "unsupported"
    assert {"Lisbon", "Ferdinand", "9,999"} <= set(invented["missing"])
    assert (backed["line"], invented["line"]) == (1, 3)
    assert backed["source"]["path"].endswith(".md")


def test_doubtful_sentences_are_shown_alone_and_counted(reader):
    said = reader.works("support", "-", "--doubtful", stdin=TEXT)
    assert "Lisbon" in said
    assert "not in your notes" in said
    assert "not calibrated on your text" in said


def test_bad_input_is_refused_in_words(reader, tramontane):
    assert "no sentence" in reader.fails("support", "-", stdin="  \n 12 \n")
    assert "can't be read" in reader.fails("support", reader.home / "nowhere.md")
    assert "no notes yet" in tramontane.fails("support", "-", stdin=TEXT)
    long = "word " * 500_000
    assert "2 MB" in reader.fails("support", "-", stdin=long)


def test_an_answer_on_the_screen_names_the_expert_whose_memory_a_sentence_is(capsys):
    screen = Screen()
    for text in ("Garlic likes potash.", "Zebras graze quietly."):
        screen(Sentence(text, "prose", 1, mark="unsupported"))
    screen(FromMemory(1, "garden", 2.1))
    screen(Done(0.1, 2))
    said = " ".join(capsys.readouterr().out.split())
    assert "From the memory of garden, no passage carries it: “Zebras graze quietly.”" in said
    assert said.count("From the memory") == 1
