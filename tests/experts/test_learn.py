"""Learning: repeatable to the bit, through any interruption, with nothing in it but the notes."""

import hashlib
import json
import math
import random
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from expert_makers import NUM_LAYERS, SMALL, WIDTH, canal_notes, note
from torch import Tensor

import tramontane.experts.training as training_file
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import Busy, DiskFull, ExpertError, LearnError
from tramontane.experts.corpus import collection_corpus, public_corpus, split_notes
from tramontane.experts.expert_file import Expert, expert_bytes, read_expert, write_expert
from tramontane.experts.learn import learn
from tramontane.experts.lesson import LearnSettings
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256, load_public_text
from tramontane.experts.training import Training
from tramontane.model.attention import WindowAttention
from tramontane.model.notes_experts import NotesExperts
from tramontane.model.transformer import load_transformer

pytestmark = pytest.mark.usefixtures("one_thread")

NOTES = canal_notes(60)
SALT = b"a collection's own salt"
Calls = list[tuple[str, int, int]]


def learnt_from(notes, checkpoint: Checkpoint, cache: Path, **more) -> Expert:
    wanted = {"name": "canal", "settings": SMALL, "salt": SALT, "owner": "the canal keeper"}
    return learn(notes, checkpoint=checkpoint, cache_folder=cache, **wanted | more)


class Whole:
    """A learning from beginning to end: what came of it, and what it reported."""

    def __init__(self, checkpoint: Checkpoint, cache: Path):
        self.calls: Calls = []
        self.cache = cache
        self.expert = learnt_from(
            NOTES, checkpoint, cache, report=lambda *call: self.calls.append(call)
        )


@pytest.fixture(scope="module")
def whole(tiny_llama, tmp_path_factory) -> Whole:
    torch.set_num_threads(1)
    return Whole(tiny_llama, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def steps(monkeypatch) -> list[int]:
    """The steps taken while the test runs."""
    taken: list[int] = []
    original = Training.take_step

    def counted(self, *arguments):
        taken.append(self.step)
        return original(self, *arguments)

    monkeypatch.setattr(Training, "take_step", counted)
    return taken


@pytest.fixture
def saves_every_step(monkeypatch):
    monkeypatch.setattr(training_file, "SECONDS_BETWEEN_SAVES", 0)


def left_behind(cache: Path) -> list[str]:
    """Returns what of learnings, beside locks, is in the cache."""
    return sorted(file.name for file in (cache / "learning").iterdir() if file.suffix != ".lock")


# What comes of it


def test_something_is_learnt_and_the_manifest_says_how_much(whole):
    manifest = whole.expert.manifest
    held_out, gates = manifest["held_out"], manifest["gates"]
    assert held_out["perplexity_after"] < 0.9 * held_out["perplexity_before"]
    assert held_out["notes"] == 6
    assert held_out["window_tokens"] == SMALL.window_tokens
    assert held_out["tokens"] % SMALL.window_tokens == 0
    assert gates["public"].keys() == {document.genre for document in load_public_text()}
    assert gates["own_held_out"] > 2 * max(gates["public"].values())
    assert manifest["notes"]["number"] == 54
    assert manifest["base"] == {"name": "tiny-llama", "sha256": manifest["base"]["sha256"]}
    assert manifest["public_text_sha256"] == PUBLIC_TEXT_SHA256
    assert manifest["settings"] == asdict(SMALL)
    assert manifest["owner"] == "the canal keeper"


class GatesCounted:
    """Counts open gates one block at a time, and lets an expert speak there or not."""

    def __init__(self, tensors: dict[str, Tensor], speaks: bool):
        self.notes = NotesExperts({"expert": tensors}).at()
        self.speaks = speaks
        self.is_open: list[bool] = []

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor:
        here = self.notes.experts.layers.get(layer)
        if here is not None:
            self.is_open += (h_TD @ here.rows_ED[0] > 0).tolist()
        return self.notes.add_to(layer, y_TD, h_TD) if self.speaks else y_TD


def test_gates_are_counted_with_what_was_learnt_in_place(tiny_llama, tmp_path):
    calls = replace(SMALL, share_of_layers=2 / 3, gate_weight=0.3)
    expert = learnt_from(NOTES, tiny_llama, tmp_path, settings=calls)
    tensors = {name: torch.from_numpy(tensor.copy()) for name, tensor in expert.tensors.items()}
    transformer = load_transformer(tiny_llama)
    corpus = collection_corpus(NOTES, tiny_llama.tokenizer(), SMALL.window_tokens, 10_000)
    rates = {}
    for speaks in (True, False):
        counted = GatesCounted(tensors, speaks)
        for window_W in corpus.held_out:
            rope = transformer.rope(torch.arange(len(window_W)))
            with torch.no_grad():
                x_TD = transformer.embed(torch.from_numpy(window_W))
                transformer.run(x_TD, rope, WindowAttention(len(window_W), None), counted)
        rates[speaks] = np.mean(counted.is_open)
    assert expert.manifest["gates"]["own_held_out"] == pytest.approx(rates[True], abs=0.002)
    assert abs(rates[True] - rates[False]) > 0.01


def test_a_gain_that_one_note_makes_is_not_sure(tiny_llama, tmp_path, monkeypatch):
    """Much better on the first note held out, a little worse on the others: a matter of luck."""

    def losses(self, trunk, windows, *, with_expert, report=None):
        found = np.full(windows[:, 1:].shape, 1.01 if with_expert else 1.0)
        found[0] -= 0.5 * with_expert
        return found

    monkeypatch.setattr(Training, "losses", losses)
    with pytest.raises(LearnError, match="nothing was learnt for sure"):
        learnt_from(NOTES, tiny_llama, tmp_path, settings=replace(SMALL, epochs=1))


def test_the_proof_tells_what_moved_what_stayed_and_what_is_known_by_heart(whole):
    manifest = whole.expert.manifest
    gain, held_out = manifest["held_out"]["gain"], manifest["held_out"]
    assert 0 < gain["low"] < gain["nats_per_token"] < gain["high"]
    assert gain["documents"] <= held_out["notes"]
    less = math.log(held_out["perplexity_before"] / held_out["perplexity_after"])
    assert gain["nats_per_token"] == pytest.approx(less, rel=1e-3)
    assert manifest["layers_moved"].keys() == {str(layer) for layer in whole.expert.layers}
    for layer in manifest["layers_moved"].values():
        assert layer["moved"] > 0.01
        assert layer["gradient"] > 0
    other = manifest["other_text"]
    assert 3 * other["genres"] <= len(manifest["gates"]["public"]) + 2
    assert other["tokens"] == other["genres"] * (SMALL.window_tokens - 1)
    change = other["perplexity_after"] / other["perplexity_before"] - 1
    assert other["change_low"] <= change + 1e-4
    assert change - 1e-4 <= other["change_high"]
    known = manifest["memorised"]
    assert 0 <= known["base"] <= known["prompts"]
    assert 0 <= known["expert"] <= known["prompts"]
    assert known["prompt_tokens"] == 16


def test_it_has_the_layers_and_shapes_that_were_asked_for(whole):
    assert whole.expert.layers == (NUM_LAYERS - 1,)
    assert whole.expert.manifest["layers"] == [NUM_LAYERS - 1]
    shapes = {name.split(".")[-1]: t.shape for name, t in whole.expert.tensors.items()}
    m = SMALL.width
    assert shapes == {"gate": (m, WIDTH), "up": (m, WIDTH), "down": (WIDTH, m), "row": (WIDTH,)}


def test_it_can_be_kept_in_a_file(whole, tmp_path):
    write_expert(tmp_path / "canal.safetensors", whole.expert)
    assert read_expert(tmp_path / "canal.safetensors").hash == whole.expert.hash


def test_more_layers_of_a_mixture(tiny_mixtral, tmp_path):
    settings = replace(SMALL, share_of_layers=2 / 3)
    expert = learnt_from(NOTES, tiny_mixtral, tmp_path, settings=settings)
    assert expert.layers == (1, 2)
    held_out = expert.manifest["held_out"]
    assert held_out["perplexity_after"] < held_out["perplexity_before"]
    again = learnt_from(NOTES, tiny_mixtral, tmp_path / "elsewhere", settings=settings)
    assert expert_bytes(again) == expert_bytes(expert)


# Repeatable


def test_the_same_notes_give_the_same_file_to_the_byte(whole, tiny_llama, tmp_path):
    shuffled = random.Random(1).sample(NOTES, len(NOTES))
    again = learnt_from(shuffled, tiny_llama, tmp_path)
    assert again.hash == whole.expert.hash
    assert expert_bytes(again) == expert_bytes(whole.expert)


def test_what_is_in_the_cache_already_changes_no_bit(whole, tiny_llama):
    again = learnt_from(NOTES, tiny_llama, whole.cache)
    assert expert_bytes(again) == expert_bytes(whole.expert)


def test_company_in_the_cache_changes_no_bit(whole, tiny_llama, tmp_path):
    learnt_from(canal_notes(60, seed=5), tiny_llama, tmp_path, name="other")
    again = learnt_from(NOTES, tiny_llama, tmp_path)
    assert expert_bytes(again) == expert_bytes(whole.expert)


def test_two_learnings_at_once_give_what_each_gives_alone(whole, tiny_llama, tmp_path):
    others = canal_notes(60, seed=5)
    alone = learnt_from(others, tiny_llama, tmp_path / "alone", name="other")
    found: dict[str, Expert] = {}

    def learn_into(name: str, notes) -> None:
        found[name] = learnt_from(notes, tiny_llama, tmp_path / "both", name=name)

    threads = [
        threading.Thread(target=learn_into, args=one)
        for one in (("canal", NOTES), ("other", others))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert expert_bytes(found["canal"]) == expert_bytes(whole.expert)
    assert expert_bytes(found["other"]) == expert_bytes(alone)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"learning_rate": 0.005},
        {"down_share": 0.25},
        {"max_tokens": 640},
        {"batch_windows": 3},
    ],
)
def test_other_settings_give_another_expert(whole, tiny_llama, tmp_path, change):
    other = learnt_from(NOTES, tiny_llama, tmp_path, settings=replace(SMALL, **change))
    assert other.hash != whole.expert.hash
    key, value = next(iter(change.items()))
    assert other.manifest["settings"][key] == value


def test_another_name_or_owner_leaves_the_tensors(whole, tiny_llama, tmp_path):
    other = learnt_from(NOTES, tiny_llama, tmp_path, name="kanal", owner="", licence="CC0-1.0")
    assert other.hash == whole.expert.hash
    assert (other.name, other.manifest["licence"]) == ("kanal", "CC0-1.0")


# Progress


def check_progress(calls: Calls) -> None:
    assert len({total for _, _, total in calls}) == 1
    done = [done for _, done, _ in calls]
    assert done == sorted(done)
    assert done[0] >= 0
    assert calls[-1][1] == calls[-1][2]
    # While it learns, a stage tells the loss behind a comma.
    stages = [stage.partition(",")[0] for stage, _, _ in calls]
    assert stages == sorted(stages, key=["reading", "learning"].index)
    assert set(stages) == {"reading", "learning"}


def test_progress_rises_and_ends_at_its_total(whole):
    check_progress(whole.calls)
    losses = [float(stage.split()[-1]) for stage, _, _ in whole.calls if "loss" in stage]
    assert losses
    assert min(losses) > 0
    # What was foretold is what was done: the last step of work itself reaches the end.
    assert whole.calls[-2][1] >= 0.999 * whole.calls[-2][2]


@pytest.mark.parametrize("settings", [replace(SMALL, row_tokens=1000), replace(SMALL, epochs=1)])
def test_progress_ends_at_its_total_with_other_settings(tiny_llama, tmp_path, settings):
    calls: Calls = []
    learnt_from(
        NOTES, tiny_llama, tmp_path, settings=settings, report=lambda *call: calls.append(call)
    )
    check_progress(calls)
    assert calls[-2][1] >= 0.999 * calls[-2][2]


# Interrupted


def interrupted(checkpoint: Checkpoint, cache: Path, after: int, notes=NOTES, **more) -> None:
    calls = 0

    def report(*_):
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learnt_from(notes, checkpoint, cache, report=report, **more)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.95])
def test_interrupted_and_begun_again_gives_the_same_expert(
    whole, tiny_llama, tmp_path, saves_every_step, steps, share
):
    after = round(share * len(whole.calls))
    interrupted(tiny_llama, tmp_path, after)
    taken_before = len(steps)
    calls: Calls = []
    again = learnt_from(NOTES, tiny_llama, tmp_path, report=lambda *call: calls.append(call))
    assert expert_bytes(again) == expert_bytes(whole.expert)
    check_progress(calls)
    assert calls[-2][1] >= 0.999 * calls[-2][2]
    # A step that was reported but not saved is taken again, and none besides.
    num_steps = len(set(steps))
    assert len(steps) <= num_steps + 1
    if share >= 0.5:
        assert taken_before > 0
    assert left_behind(tmp_path) == []


def test_interrupted_many_times_gives_the_same_expert(
    whole, tiny_llama, tmp_path, saves_every_step
):
    for after in (3, 16, 18, 20, 24):
        interrupted(tiny_llama, tmp_path, after)
    again = learnt_from(NOTES, tiny_llama, tmp_path)
    assert expert_bytes(again) == expert_bytes(whole.expert)


@pytest.mark.parametrize("saves_before", [0, 5])
def test_a_disk_that_fills_is_told_and_with_room_again_it_goes_on(
    whole, tiny_llama, tmp_path, saves_every_step, steps, monkeypatch, saves_before
):
    write_whole, saves = training_file.write_whole, []

    def filling_up(path: Path, data: bytes) -> None:
        if len(saves) == saves_before:
            raise DiskFull(f"{path}: the disk is full")
        saves.append(path)
        write_whole(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(training_file, "write_whole", filling_up)
        with pytest.raises(DiskFull, match="training.safetensors"):
            learnt_from(NOTES, tiny_llama, tmp_path)
    taken = len(steps)
    assert taken == saves_before + 1
    again = learnt_from(NOTES, tiny_llama, tmp_path)
    assert expert_bytes(again) == expert_bytes(whole.expert)
    # Only the step that could not be saved is taken again.
    assert steps[taken] == taken - 1
    assert left_behind(tmp_path) == []


def test_an_abandoned_learning_of_the_name_is_cleared_away(
    whole, tiny_llama, tmp_path, saves_every_step
):
    interrupted(tiny_llama, tmp_path, 40, notes=canal_notes(60, seed=5))
    interrupted(tiny_llama, tmp_path, 40, notes=canal_notes(60, seed=6), name="canal-2")
    assert len(left_behind(tmp_path)) == 2
    again = learnt_from(NOTES, tiny_llama, tmp_path)
    assert expert_bytes(again) == expert_bytes(whole.expert)
    (other,) = left_behind(tmp_path)
    assert other.startswith("canal-2-")


CHILD = """
import sys, time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from expert_makers import SMALL, canal_notes

import tramontane.experts.training as training
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.experts.learn import learn

training.SECONDS_BETWEEN_SAVES = 0
cache = Path(sys.argv[3])


def report(*_):
    if list(cache.glob("learning/canal-*/training.safetensors")):
        print("saved", flush=True)
        time.sleep(300)


learn(
    canal_notes(60),
    name="canal",
    checkpoint=open_checkpoint(Path(sys.argv[2])),
    cache_folder=cache,
    settings=SMALL,
    salt=bytes.fromhex(sys.argv[4]),
    owner="the canal keeper",
    threads=1,
    report=report,
)
"""


@pytest.mark.slow
def test_killed_after_its_first_save_it_goes_on_to_the_same_expert(
    whole, tiny_llama, tmp_path, steps
):
    arguments = (str(Path(__file__).parent), str(tiny_llama.files[0]), str(tmp_path), SALT.hex())
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "saved\n"
            with pytest.raises(Busy, match="learning 'canal'"):
                learnt_from(NOTES, tiny_llama, tmp_path)
        finally:
            child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert len(left_behind(tmp_path)) == 1
    assert not steps
    again = learnt_from(NOTES, tiny_llama, tmp_path)
    assert expert_bytes(again) == expert_bytes(whole.expert)
    assert steps[0] > 0, "it goes on from what the killed process saved"
    assert left_behind(tmp_path) == []


# Refusals


@pytest.mark.parametrize(
    "notes",
    [
        [],
        NOTES[:3],
        [note(one.text, may_train=False) for one in NOTES],
        [note("\n") for _ in range(60)],
        [NOTES[0]] * 60,
    ],
    ids=["none", "few", "forbidden", "empty", "one text"],
)
def test_too_few_notes_are_refused_and_leave_nothing(tiny_llama, tmp_path, notes):
    with pytest.raises(LearnError, match="too few"):
        learnt_from(notes, tiny_llama, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_learning_that_moves_nothing_is_refused(tiny_llama, tmp_path):
    settings = replace(SMALL, learning_rate=0.0, epochs=1)
    with pytest.raises(LearnError, match="nothing was learnt for sure: on 6 notes held out"):
        learnt_from(NOTES, tiny_llama, tmp_path, settings=settings)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("loss_after", [1.0, 1.1, 1000.0, math.inf, math.nan])
def test_where_nothing_is_learnt_nothing_is_kept(tiny_llama, tmp_path, monkeypatch, loss_after):
    def losses(self, trunk, windows, *, with_expert, report):
        return np.full(windows[:, 1:].shape, loss_after if with_expert else 1.0)

    monkeypatch.setattr(Training, "losses", losses)
    with pytest.raises(LearnError, match=r"nothing was learnt.* and 2\.72 without"):
        learnt_from(NOTES, tiny_llama, tmp_path, settings=replace(SMALL, epochs=1))
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("name", ["", "../canal", "Canal", "a/b", "x" * 65])
def test_a_name_that_can_be_no_file_is_refused(tiny_llama, tmp_path, name):
    with pytest.raises(ExpertError, match="can't be a name"):
        learnt_from(NOTES, tiny_llama, tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_width_beyond_the_bases_neurons_is_refused(tiny_llama, tmp_path):
    with pytest.raises(LearnError, match="more than the base's 96 neurons"):
        learnt_from(NOTES, tiny_llama, tmp_path, settings=replace(SMALL, width=128))


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 100},
        {"width": -64},
        {"share_of_layers": 0.0},
        {"share_of_layers": 1.1},
        {"window_tokens": 1},
        {"max_tokens": 31},
        {"row_tokens": 31},
        {"public_tokens_per_genre": 31},
        {"batch_windows": 0},
        {"epochs": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(LearnError, match=next(iter(wrong))):
        replace(SMALL, **wrong)


def test_epochs_follow_the_amount_of_text_unless_given():
    assert [LearnSettings().epochs_for(n) for n in (1000, 59_999, 60_000)] == [2, 2, 1]
    assert LearnSettings(epochs=7).epochs_for(1000) == 7


# Nothing in it but the notes


def texts_in(value: object) -> list[str]:
    """Returns every text and key in a manifest."""
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts_in(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts_in(one)]
    return [value] if isinstance(value, str) else []


def test_the_manifest_holds_no_time_no_text_and_no_path(whole, tiny_llama):
    manifest = json.loads(json.dumps(whole.expert.manifest))
    assert manifest.keys() == {
        "format",
        "name",
        "owner",
        "licence",
        "base",
        "form",
        "layers",
        "width",
        "settings",
        "notes",
        "public_text_sha256",
        "tensor_hash",
        "made_with",
        "held_out",
        "gates",
        "layers_moved",
        "other_text",
        "memorised",
    }
    made_with = {"torch", "threads", "place", "instructions", "machine"}
    assert manifest["made_with"].keys() == made_with
    words = {word for one in NOTES for word in one.text.split() if len(word) > 4}
    for text in texts_in(manifest):
        if text != "the canal keeper":
            assert "/" not in text.removeprefix("tramontane-expert/")
            assert not words & set(text.split())
    paths = {str(whole.cache), str(tiny_llama.files[0].parent), str(Path.home())}
    assert not any(path in json.dumps(manifest) for path in paths if path != "/")


def test_notes_are_named_by_salted_hashes_alone(whole, tiny_llama, tmp_path):
    learnt, _ = split_notes(NOTES)
    salted = whole.expert.manifest["notes"]["salted_sha256"]
    wanted = [hashlib.sha256(SALT + bytes.fromhex(one.sha256)).hexdigest() for one in learnt]
    assert salted == sorted(wanted)
    assert not {one.sha256 for one in NOTES} & set(salted)
    other = learnt_from(NOTES, tiny_llama, tmp_path, salt=b"another")
    assert other.hash == whole.expert.hash
    assert not set(other.manifest["notes"]["salted_sha256"]) & set(salted)


def test_notes_beyond_the_most_tokens_are_not_claimed(tiny_llama, tmp_path):
    expert = learnt_from(NOTES, tiny_llama, tmp_path, settings=replace(SMALL, max_tokens=640))
    claimed = expert.manifest["notes"]
    assert claimed["tokens"] == 640
    assert 10 < claimed["number"] < 25
    assert len(claimed["salted_sha256"]) == claimed["number"]


def test_notes_that_may_not_train_leave_no_trace(whole, tiny_llama, tmp_path):
    forbidden = [note(f"The vault opens with {n}.", may_train=False) for n in range(40)]
    mixed = random.Random(2).sample([*NOTES, *forbidden], 100)
    expert = learnt_from(mixed, tiny_llama, tmp_path)
    assert expert.hash == whole.expert.hash
    assert expert_bytes(expert) == expert_bytes(whole.expert)
    hashes = {hashlib.sha256(SALT + bytes.fromhex(one.sha256)).hexdigest() for one in forbidden}
    assert not hashes & set(expert.manifest["notes"]["salted_sha256"])
    assert files_in(tmp_path) == files_in(whole.cache)


def files_in(cache: Path) -> dict[str, str]:
    """Returns the hash of every file that learning left in the cache."""
    return {
        str(file.relative_to(cache)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in cache.rglob("*")
        if file.is_file()
    }


def test_afterwards_the_cache_holds_the_public_text_alone(whole, tiny_llama, tmp_path):
    others = canal_notes(60, seed=5)
    learnt_from(others, tiny_llama, tmp_path)
    assert files_in(tmp_path) == files_in(whole.cache)
    public = sum(array.size for array in map(np.load, whole.cache.rglob("trunk.npy")))
    corpus = public_corpus(
        load_public_text(),
        tiny_llama.tokenizer(),
        SMALL.window_tokens,
        SMALL.public_tokens_per_genre,
    )
    parts = (*corpus.fitted.values(), *corpus.unseen.values())
    assert public == sum(windows.size for windows in parts) * WIDTH
