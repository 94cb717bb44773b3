"""A packed expert carries no text of a note, and leaves only where its notes allow it."""

import json
import os
from dataclasses import replace

import pytest
from expert_makers import canal_notes, expert, note, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from note_bytes import runs_of

from tramontane.errors import DiskFull, ExpertError
from tramontane.experts.corpus import salted_hashes, split_notes
from tramontane.experts.expert_file import Expert, read_expert
from tramontane.experts.pack import pack_expert
from tramontane.files import write_whole
from tramontane.notes.note import Note

SALT = b"the collection's own"
NOTES = canal_notes(20)


def learnt_from(notes: list[Note], **changes: object) -> Expert:
    hashes = salted_hashes(split_notes(notes)[0], SALT)
    said = {"number": len(hashes), "salted_sha256": hashes, "tokens": 900}
    return expert("canal", random_tensors(1), notes=said, **changes)


def refusal(expert: Expert, notes: list[Note], **said: str) -> str:
    with pytest.raises(ExpertError) as caught:
        pack_expert(expert, notes, SALT, **said)
    return str(caught.value)


def test_a_pack_is_the_expert_and_holds_no_run_of_any_note(tmp_path):
    packed = pack_expert(learnt_from(NOTES), NOTES, SALT)
    path = tmp_path / "canal.safetensors"
    path.write_bytes(packed.data)
    assert read_expert(path).hash == packed.expert.hash
    assert packed.num_notes_checked == len(NOTES)
    carried = runs_of([packed.data.decode("utf-8", "replace")])
    assert not carried & runs_of(note.text for note in NOTES)


@pytest.mark.parametrize("place", ["owner", "licence", "in pieces", "a key", "escaped"])
def test_eight_words_of_a_note_are_found_wherever_they_stand(place):
    words = "the old towpath gate by mill lane creaks".split()
    secret = note(" ".join(words), path="secret.md")
    changes: dict[str, object] = {
        "owner": {"owner": " ".join(words)},
        "licence": {"licence": "\n".join(words)},
        "in pieces": {"settings": [" ".join(words[:4]), " ".join(words[4:])]},
        "a key": {" ".join(words[:5]): " ".join(words[5:])},
        "escaped": {"settings": ["\n".join(words[:4]), "\n".join(words[4:])]},
    }[place]
    told = refusal(learnt_from(NOTES, **changes), [*NOTES, secret])
    assert "secret.md" in told or "holds text" in told


@pytest.mark.parametrize("part", [0, 1], ids=["learnt", "held out"])
def test_a_note_that_may_not_be_shared_keeps_it_here(part):
    kept = split_notes(NOTES)[part][0]
    notes = [replace(n, may_share=n.path != kept.path) for n in NOTES]
    told = refusal(learnt_from(NOTES), notes)
    assert "share: no" in told
    assert kept.path in told


def test_notes_held_out_beyond_a_tenth_are_heard_too():
    """Short notes: the split held out four of twenty, as the manifest says, and not two."""
    learnt, held_out = split_notes(NOTES, lambda chosen: len(chosen) >= 4)
    hashes = salted_hashes(learnt, SALT)
    made = learnt_from(NOTES)
    manifest = made.manifest | {
        "notes": {"number": len(hashes), "salted_sha256": hashes, "tokens": 900},
        "held_out": made.manifest["held_out"] | {"notes": 4},
    }
    private = held_out[3].path
    notes = [replace(n, may_share=n.path != private) for n in NOTES]
    assert private in refusal(Expert(manifest, made.tensors), notes)


def test_a_note_that_was_never_learnt_may_say_what_it_likes():
    private = replace(note("never learnt", path="own.md"), may_share=False, may_train=False)
    assert pack_expert(learnt_from(NOTES), [*NOTES, private], SALT).data


def test_notes_that_changed_since_must_be_learnt_again():
    learnt = split_notes(NOTES)[0][0]
    left = [n for n in NOTES if n.path != learnt.path]
    assert "1 of the 18 notes" in refusal(learnt_from(NOTES), left)


def test_owner_and_licence_must_be_said():
    told = refusal(learnt_from(NOTES, owner="", licence=""), NOTES)
    assert "--owner" in told
    assert "--licence" in told
    said = pack_expert(
        learnt_from(NOTES, owner="", licence=""), NOTES, SALT, owner="I", licence="L"
    )
    assert (said.expert.manifest["owner"], said.expert.manifest["licence"]) == ("I", "L")


def test_licences_of_notes_are_heard():
    learnt = split_notes(NOTES)[0][0]
    notes = [replace(n, licence="CC-BY-NC-4.0" if n.path == learnt.path else None) for n in NOTES]
    assert learnt.path in refusal(learnt_from(NOTES), notes)
    packed = pack_expert(learnt_from(NOTES), notes, SALT, licence="CC-BY-NC-4.0")
    assert packed.expert.manifest["note_licences"] == ["CC-BY-NC-4.0"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=20, max_size=20),
)
def test_no_artefact_of_a_forbidden_note(rights):
    """Whatever notes allow: no hash, salted or not, of one that may not train or be shared."""
    notes = [
        replace(n, may_train=trains, may_share=shares)
        for n, (trains, shares) in zip(NOTES, rights, strict=True)
    ]
    learnt, held_out = split_notes(notes)
    if not learnt:
        return
    if not all(n.may_share for n in (*learnt, *held_out)):
        assert "share: no" in refusal(learnt_from(notes), notes)
        return
    packed = pack_expert(learnt_from(notes), notes, SALT)
    text = packed.data.decode("utf-8", "replace") + json.dumps(dict(packed.expert.manifest))
    # Of two notes with one text one may stand for both.
    allowed = {n.sha256 for n in notes if n.may_train and n.may_share}
    for n in notes:
        if n.sha256 not in allowed:
            assert n.sha256 not in text
            assert salted_hashes([n], SALT)[0] not in text
            assert not runs_of([n.text]) & runs_of([text])


def test_a_disk_that_fills_leaves_no_half_file(tmp_path, monkeypatch):
    packed = pack_expert(learnt_from(NOTES), NOTES, SALT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        write_whole(tmp_path / "canal.safetensors", packed.data)
    assert list(tmp_path.iterdir()) == []
