"""The fuzzer itself: a short run finds nothing, and a reader that breaks would be found."""

import random

import fuzz_gguf
import pytest
from fuzz_gguf import Fields, Fuzzer, mutated, seeds

NUM_FILES = 300


def test_a_short_run_finds_no_bug(tmp_path):
    fuzzer = Fuzzer(tmp_path, seed=1)
    for _ in range(NUM_FILES):
        fuzzer.step()
    assert not fuzzer.bugs, "\n".join(fuzzer.bugs)
    # Far from being one and the same refusal.
    assert len(fuzzer.answers) > 30


def test_a_seed_gives_the_same_files(tmp_path):
    raws = seeds(tmp_path)
    drawn = [[mutated(raws[0], raws, random.Random(seed)) for seed in range(20)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 15


def test_structure_is_found(tmp_path):
    raw = seeds(tmp_path)[0]
    fields = Fields(raw)
    strings = {raw[at : at + size] for at, size in fields.strings}
    assert {b"general.architecture", b"llama", b"blk.1.ffn_down.weight"} <= strings
    assert (16, 8) in fields.numbers  # how many metadata entries there are


@pytest.mark.parametrize("error", [IndexError, AssertionError, OverflowError])
def test_any_error_that_is_not_ours_is_kept_with_its_file(tmp_path, monkeypatch, error):
    fuzzer = Fuzzer(tmp_path, seed=0)

    def breaks(path):
        raise error("here")

    monkeypatch.setattr(fuzz_gguf, "answer_to", breaks)
    fuzzer.answer(b"GGUF")
    (bug,) = fuzzer.bugs
    assert error.__name__ in bug
    assert (tmp_path / bug.partition(":")[0]).read_bytes() == b"GGUF"


def test_an_error_in_words_is_an_answer(tmp_path, monkeypatch):
    fuzzer = Fuzzer(tmp_path, seed=0)
    assert "starts with" in fuzzer.answer(b"not a model, though long enough to be one")
    monkeypatch.setattr(fuzz_gguf, "open_checkpoint", lambda path: 1 / 0)
    fuzzer.answer(b"GGUF")
    assert "ZeroDivisionError" in fuzzer.bugs[0]
