"""Raising an expert's threshold as a job does it: from the library's notes to the shelf."""

import pytest
import torch
from expert_makers import SMALL, canal_notes

from tramontane.cli.job_kinds import kind_of
from tramontane.cli.notes import add_and_sync
from tramontane.cli.parts import Parts
from tramontane.errors import LearnError, RequestError
from tramontane.experts.learn import learn
from tramontane.notes.folder import read_folder
from tramontane.settings import Settings


@pytest.fixture(scope="module")
def parts(tiny_base, tmp_path_factory):
    threads = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("raised")
    notes = folder / "canal"
    notes.mkdir()
    for note in canal_notes(60):
        (notes / note.path).write_text(note.text, encoding="utf-8")
    (tiny,) = {tensor.file for tensor in tiny_base.tensors.values()}
    parts = Parts(Settings(home=folder / "home", base=str(tiny), threads=1))
    add_and_sync(parts, "canal", notes, lambda *_: None)
    first = learn(
        read_folder(notes).notes,
        name="canal",
        checkpoint=parts.checkpoint,
        cache_folder=parts.settings.cache_folder,
        settings=SMALL,
        salt=parts.library.collection("canal").salt,
        threads=1,
    )
    parts.shelf.put_in_place(parts.shelf.add(first), parts.mixture())
    yield parts
    parts.close()
    torch.set_num_threads(threads)


def raised(parts: Parts, **asked):
    kind = kind_of("raise")
    return kind.do(parts, kind.read({"name": "canal"} | asked), lambda *_: None)


def test_the_new_expert_stands_beside_the_first_and_is_not_in_place(parts: Parts):
    before = parts.mixture().experts
    told = raised(parts, by=3)
    first, new = (parts.shelf.find(name) for name in ("canal", "canal-raised"))
    assert (told["expert"], told["hash"]) == ("canal-raised", new.hash)
    assert parts.mixture().experts == before == (first.hash,)
    was, now = (record.manifest["gates"]["own_held_out"] for record in (first, new))
    assert now < was
    assert f"open at {now:.1%} of the tokens" in told["says"]
    assert f"instead of {was:.1%}" in told["says"]


def test_after_a_note_has_changed_it_is_refused(parts: Parts):
    file = parts.library.collection("canal").folder / "7.md"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "The heron came back.\n", encoding="utf-8")
    try:
        with pytest.raises(LearnError, match="learn it anew first"):
            raised(parts, as_name="other")
    finally:
        file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("by", [0, -1, 101, "much"])
def test_a_job_names_what_is_wrong(by):
    with pytest.raises(RequestError, match="by: .*; arguments: name, by, as_name"):
        kind_of("raise").read({"name": "canal", "by": by})
