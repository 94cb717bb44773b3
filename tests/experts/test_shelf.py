"""The shelf: what is where after any order of calls, and after a call that was interrupted."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from expert_makers import BASE_SHA256, expert, random_expert, random_tensors
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tramontane.experts.expert_file as expert_file
import tramontane.experts.mixture as mixture_file
import tramontane.experts.shelf as shelf_file
from tramontane.errors import ExpertError, NotFound
from tramontane.experts.expert_file import expert_bytes
from tramontane.experts.mixture import Mixture, write_mixture
from tramontane.experts.shelf import Shelf

OTHER_BASE = "c" * 64


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "experts", tmp_path / "mixtures")


def put(shelf: Shelf, name: str, seed: int, *mixtures: str) -> str:
    """Adds a random expert, puts it in the mixtures named, and returns its hash."""
    record = shelf.add(random_expert(name, seed, width=2))
    for mixture in mixtures:
        shelf.put_in_place(record, shelf.mixture(mixture, BASE_SHA256))
    return record.hash


def contents(shelf: Shelf) -> dict[str, tuple[str, ...]]:
    return {mixture.name: mixture.experts for mixture in shelf.mixtures()}


def test_an_empty_shelf_has_nothing_and_says_so(shelf):
    assert shelf.ls() == []
    assert shelf.mixtures() == []
    with pytest.raises(NotFound, match="there are none; `tramontane learn"):
        shelf.find("canal")
    with pytest.raises(NotFound, match="tramontane mixture new"):
        shelf.mixture("work")


def test_what_is_added_is_found_by_name_and_by_hash(shelf):
    added = shelf.add(random_expert("canal", 1))
    assert shelf.ls() == [added]
    assert (added.name, added.base_sha256, added.is_withdrawn) == ("canal", BASE_SHA256, False)
    assert shelf.find("canal") == shelf.find(added.hash) == shelf.find(added.hash[:8]) == added
    assert shelf.read(added).hash == added.hash
    with pytest.raises(NotFound):
        shelf.find(added.hash[:7])


def test_a_name_that_looks_like_a_hash_is_a_name_first(shelf):
    digest = shelf.add(random_expert("canal", 1)).hash
    shelf.add(random_expert(digest[:8], 2))
    assert shelf.find(digest[:8]).name == digest[:8]
    assert shelf.find(digest[:9]).name == "canal"


def test_one_hash_under_two_names_is_found(shelf):
    tensors = random_tensors(1)
    shelf.add(expert("a", tensors))
    shelf.add(expert("b", tensors))
    assert shelf.find(shelf.find("b").hash[:12]).hash == shelf.find("b").hash


def test_unknown_names_suggest_near_ones(shelf):
    for seed, name in enumerate(("canal", "kitchen", "garden")):
        shelf.add(random_expert(name, seed, width=2))
    with pytest.raises(NotFound, match=r"'gardn'; there are: garden$"):
        shelf.find("gardn")
    with pytest.raises(NotFound, match="canal, garden, kitchen"):
        shelf.find("xyz")
    shelf.withdraw("garden")
    with pytest.raises(NotFound, match="garden"):
        shelf.find("gardn")
    shelf.mixture("work", BASE_SHA256)
    write_mixture(shelf.mixtures_folder, Mixture("work", BASE_SHA256))
    with pytest.raises(NotFound, match="'wrok'; there are: work"):
        shelf.mixture("wrok")


def test_a_mixture_belongs_to_its_base(shelf):
    put(shelf, "canal", 1, "work")
    assert shelf.mixture("work").base_sha256 == BASE_SHA256
    with pytest.raises(ExpertError, match="belongs to the base bbbb"):
        shelf.mixture("work", OTHER_BASE)
    foreign = shelf.add(random_expert("foreign", 2, OTHER_BASE))
    with pytest.raises(ExpertError, match="learnt on the base cccc"):
        shelf.put_in_place(foreign, shelf.mixture("work"))
    assert contents(shelf) == {"work": (shelf.find("canal").hash,)}


def test_taking_out_of_one_mixture_leaves_the_other(shelf):
    digest = put(shelf, "canal", 1, "work", "home")
    shelf.take_out(shelf.find("canal"), shelf.mixture("work"))
    assert contents(shelf) == {"home": (digest,), "work": ()}
    with pytest.raises(ExpertError, match="not in mixture work"):
        shelf.take_out(shelf.find("canal"), shelf.mixture("work"))


def test_a_replaced_expert_is_replaced_in_every_mixture(shelf):
    kept = put(shelf, "kitchen", 9, "work")
    put(shelf, "canal", 1, "work", "home")
    write_mixture(shelf.mixtures_folder, Mixture("empty", BASE_SHA256))
    new = put(shelf, "canal", 2)
    assert contents(shelf) == {
        "empty": (),
        "home": (new,),
        "work": tuple(sorted((kept, new))),
    }
    assert [record.name for record in shelf.ls()] == ["canal", "kitchen"]


def test_a_replacement_on_another_base_leaves_the_mixtures(shelf):
    put(shelf, "canal", 1, "work")
    shelf.add(random_expert("canal", 2, OTHER_BASE))
    assert contents(shelf) == {"work": ()}


def test_adding_the_same_expert_again_changes_nothing(shelf):
    put(shelf, "canal", 1, "work")
    files = sorted(shelf.experts_folder.parent.rglob("*"))
    before = {file: file.read_bytes() for file in files if file.is_file()}
    put(shelf, "canal", 1, "work")
    after = sorted(shelf.experts_folder.parent.rglob("*"))
    assert {file: file.read_bytes() for file in after if file.is_file()} == before


def test_a_bad_expert_replaces_nothing(shelf):
    digest = put(shelf, "canal", 1, "work")
    tensors = random_tensors(2)
    with pytest.raises(ExpertError, match="tensor hash"):
        shelf.add(expert("canal", tensors, tensor_hash="0" * 64))
    with pytest.raises(ExpertError):
        shelf.add(expert("canal", tensors | {"more": tensors["layers.1.row"]}))
    assert contents(shelf) == {"work": (digest,)}
    assert shelf.read(shelf.find("canal")).hash == digest


def test_withdrawn_and_restored_all_is_as_before(shelf):
    kept = put(shelf, "kitchen", 9, "work")
    digest = put(shelf, "canal", 1, "work", "home")
    write_mixture(shelf.mixtures_folder, Mixture("empty", BASE_SHA256))
    before = contents(shelf)

    withdrawal = shelf.withdraw("canal")
    assert {m.name: m.experts for m in withdrawal.before} == {
        name: before[name] for name in ("home", "work")
    }
    assert {m.name: m.experts for m in withdrawal.after} == {"home": (), "work": (kept,)}
    assert withdrawal.expert.hash == digest
    assert withdrawal.expert.is_withdrawn
    assert withdrawal.expert == shelf.find("canal")
    assert contents(shelf) == {"empty": (), "home": (), "work": (kept,)}
    assert [(r.name, r.is_withdrawn) for r in shelf.ls()] == [("kitchen", False), ("canal", True)]
    with pytest.raises(ExpertError, match="withdrawn already"):
        shelf.withdraw("canal")
    with pytest.raises(ExpertError, match="tramontane experts restore canal"):
        shelf.put_in_place(shelf.find("canal"), shelf.mixture("empty"))

    record, mixtures = shelf.restore("canal")
    assert not record.is_withdrawn
    assert record.hash == digest
    assert {mixture.name for mixture in mixtures} == {"home", "work"}
    assert contents(shelf) == before
    assert list(shelf.withdrawn_folder.iterdir()) == []
    with pytest.raises(ExpertError, match="not withdrawn"):
        shelf.restore("canal")


def test_restoring_passes_over_mixtures_that_are_gone_or_on_another_base(shelf):
    digest = put(shelf, "canal", 1, "gone", "moved", "work")
    shelf.withdraw("canal")
    (shelf.mixtures_folder / "gone.mixture.json").unlink()
    write_mixture(shelf.mixtures_folder, Mixture("moved", OTHER_BASE))
    _, mixtures = shelf.restore("canal")
    assert [mixture.name for mixture in mixtures] == ["work"]
    assert contents(shelf) == {"moved": (), "work": (digest,)}


def test_a_damaged_memory_says_what_to_do(shelf):
    put(shelf, "canal", 1, "work")
    shelf.withdraw("canal")
    memory = shelf.withdrawn_folder / "canal.json"
    for text in ("", "[]", "{", '{"mixtures": 3}', "1" * 5000):
        memory.write_text(text)
        with pytest.raises(ExpertError, match="delete it"):
            shelf.restore("canal")
        assert shelf.find("canal").is_withdrawn
    memory.unlink()
    assert shelf.restore("canal")[1] == []


def test_only_a_withdrawn_expert_can_be_removed(shelf):
    put(shelf, "canal", 1, "work")
    with pytest.raises(ExpertError, match="withdraw it first"):
        shelf.remove("canal")
    shelf.withdraw("canal")
    path = shelf.remove("canal")
    assert not path.exists()
    assert list(shelf.withdrawn_folder.iterdir()) == []
    with pytest.raises(NotFound):
        shelf.remove("canal")


def test_learnt_again_after_a_withdrawal_both_can_be_named(shelf):
    old = put(shelf, "canal", 1, "work")
    shelf.withdraw("canal")
    new = put(shelf, "canal", 2, "home")
    assert shelf.find("canal").hash == new
    assert shelf.find(old).is_withdrawn
    with pytest.raises(ExpertError, match="learnt since"):
        shelf.restore("canal")
    assert contents(shelf) == {"home": (new,), "work": ()}
    shelf.remove("canal")
    assert [(r.hash, r.is_withdrawn) for r in shelf.ls()] == [(new, False)]


def test_withdrawing_the_second_of_a_name_forgets_where_the_first_was(shelf):
    put(shelf, "canal", 1, "work")
    shelf.withdraw("canal")
    new = put(shelf, "canal", 2, "home")
    shelf.withdraw("canal")
    assert [(r.hash, r.is_withdrawn) for r in shelf.ls()] == [(new, True)]
    shelf.restore("canal")
    assert contents(shelf) == {"home": (new,), "work": ()}


def test_the_same_expert_learnt_again_can_be_named_by_its_hash(shelf):
    digest = put(shelf, "canal", 1)
    shelf.withdraw("canal")
    put(shelf, "canal", 1)
    assert shelf.find(digest).is_withdrawn is False


def test_experts_in_place_are_read_in_the_order_of_their_hashes(shelf):
    hashes = [put(shelf, name, seed, "work") for seed, name in enumerate("cab")]
    assert [e.hash for e in shelf.in_place(shelf.mixture("work"))] == sorted(hashes)


def test_a_mixture_whose_expert_is_gone_is_refused(shelf):
    put(shelf, "canal", 1, "work")
    shelf.find("canal").path.unlink()
    with pytest.raises(ExpertError, match="not on the shelf"):
        shelf.in_place(shelf.mixture("work"))


@pytest.mark.parametrize("data", [b"", b"GGUF", b"\2\0\0\0\0\0\0\0[]", b"\2\0\0\0\0\0\0\0{}"])
def test_a_foreign_file_on_the_shelf_is_named(shelf, data):
    put(shelf, "canal", 1)
    stranger = shelf.experts_folder / "stranger.safetensors"
    stranger.write_bytes(data)
    with pytest.raises(ExpertError, match=r"stranger\.safetensors"):
        shelf.ls()


@pytest.mark.parametrize("base", ["text", 3, None, []])
def test_a_manifest_with_a_strange_base_lists_and_goes_nowhere(shelf, base):
    put(shelf, "canal", 1, "work")
    strange = expert("strange", random_tensors(2), base=base)
    (shelf.experts_folder / "strange.safetensors").write_bytes(expert_bytes(strange))
    assert [record.name for record in shelf.ls()] == ["canal", "strange"]
    with pytest.raises(ExpertError):
        shelf.put_in_place(shelf.find("strange"), shelf.mixture("work"))
    with pytest.raises(ExpertError, match=r"strange\.safetensors"):
        shelf.read(shelf.find("strange"))


# Against a slow, obvious model

NAMES = ("canal", "garden", "kitchen")
MIXTURES = ("home", "work")
# Garden's second and kitchen's first are one expert under two names.
SEEDS = (("canal", 1), ("canal", 2), ("garden", 3), ("garden", 4), ("kitchen", 4), ("kitchen", 5))
EXPERTS = {(name, seed): random_expert(name, seed, width=2) for name, seed in SEEDS}


class ShelfMachine(RuleBasedStateMachine):
    """The model: names to hashes on the shelf and withdrawn, mixtures to sets of hashes."""

    folder: Path

    def __init__(self):
        super().__init__()
        number = sum(1 for _ in self.folder.iterdir())
        here = self.folder / str(number)
        self.shelf = Shelf(here / "experts", here / "mixtures")
        here.mkdir()
        self.on_shelf: dict[str, str] = {}
        self.withdrawn: dict[str, tuple[str, set[str]]] = {}
        self.mixtures: dict[str, set[str]] = {}

    @rule(which=st.sampled_from(sorted(EXPERTS)))
    def add(self, which):
        name, digest = which[0], EXPERTS[which].hash
        self.shelf.add(EXPERTS[which])
        replaced = self.on_shelf.get(name)
        for members in self.mixtures.values():
            if replaced in members:
                members.remove(replaced)
                members.add(digest)
        self.on_shelf[name] = digest

    @rule(name=st.sampled_from(NAMES), mixture=st.sampled_from(MIXTURES))
    def put_in_place(self, name, mixture):
        if name in self.on_shelf:
            place = self.shelf.mixture(mixture, BASE_SHA256)
            self.shelf.put_in_place(self.shelf.find(name), place)
            self.mixtures.setdefault(mixture, set()).add(self.on_shelf[name])
        elif name in self.withdrawn:
            with pytest.raises(ExpertError):
                self.shelf.put_in_place(
                    self.shelf.find(name), self.shelf.mixture(mixture, BASE_SHA256)
                )
        else:
            with pytest.raises(NotFound):
                self.shelf.find(name)

    @rule(name=st.sampled_from(NAMES), mixture=st.sampled_from(MIXTURES))
    def take_out(self, name, mixture):
        if name not in self.on_shelf or mixture not in self.mixtures:
            return
        record, place = self.shelf.find(name), self.shelf.mixture(mixture)
        if record.hash in self.mixtures[mixture]:
            self.shelf.take_out(record, place)
            self.mixtures[mixture].remove(record.hash)
        else:
            with pytest.raises(ExpertError):
                self.shelf.take_out(record, place)

    @rule(name=st.sampled_from(NAMES))
    def withdraw(self, name):
        if name in self.on_shelf:
            withdrawal = self.shelf.withdraw(name)
            digest = self.on_shelf.pop(name)
            from_these = {m for m, members in self.mixtures.items() if digest in members}
            assert {mixture.name for mixture in withdrawal.before} == from_these
            for mixture in from_these:
                self.mixtures[mixture].remove(digest)
            self.withdrawn[name] = (digest, from_these)
        elif name in self.withdrawn:
            with pytest.raises(ExpertError):
                self.shelf.withdraw(name)

    @rule(name=st.sampled_from(NAMES))
    def restore(self, name):
        if name in self.withdrawn and name not in self.on_shelf:
            self.shelf.restore(name)
            digest, into_these = self.withdrawn.pop(name)
            self.on_shelf[name] = digest
            for mixture in into_these:
                self.mixtures[mixture].add(digest)
        elif name in self.withdrawn or name in self.on_shelf:
            with pytest.raises(ExpertError):
                self.shelf.restore(name)

    @precondition(lambda self: self.withdrawn)
    @rule(name=st.sampled_from(NAMES))
    def remove(self, name):
        if name in self.withdrawn:
            self.shelf.remove(name)
            del self.withdrawn[name]
        elif name in self.on_shelf:
            with pytest.raises(ExpertError):
                self.shelf.remove(name)

    @invariant()
    def the_shelf_is_as_the_model_says(self):
        listed = [(r.name, r.hash, r.is_withdrawn) for r in self.shelf.ls()]
        assert listed == [
            *((name, digest, False) for name, digest in sorted(self.on_shelf.items())),
            *((name, digest, True) for name, (digest, _) in sorted(self.withdrawn.items())),
        ]
        assert {m.name: set(m.experts) for m in self.shelf.mixtures()} == self.mixtures
        for mixture in self.shelf.mixtures():
            assert {e.hash for e in self.shelf.in_place(mixture)} == self.mixtures[mixture.name]


def test_any_order_of_calls_does_what_sets_would(tmp_path):
    machine = type("Machine", (ShelfMachine,), {"folder": tmp_path})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=30, stateful_step_count=25, deadline=None)
    )


# Interruption


class Interrupted(BaseException):
    """Stands for a kill: nothing catches it."""


def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> bool:
    """Runs `act` and stops it before its write or move number `step`; False if it has fewer."""
    count = 0

    def counted(original):
        def call(*arguments):
            nonlocal count
            count += 1
            if count > step:
                raise Interrupted
            return original(*arguments)

        return call

    with monkeypatch.context() as patched:
        for module in (expert_file, mixture_file, shelf_file):
            patched.setattr(module, "write_whole", counted(module.write_whole))
        patched.setattr(shelf_file.os, "replace", replace_outside_writing(counted(os.replace)))
        patched.setattr(Path, "unlink", unlink_outside_writing(counted(Path.unlink)))
        try:
            act()
        except Interrupted:
            return True
    return False


def replace_outside_writing(counted: Callable) -> Callable:
    """Lets writes of whole files pass: they are counted as one step already."""
    original = os.replace
    return lambda a, b: original(a, b) if str(a).endswith(".part") else counted(a, b)


def unlink_outside_writing(counted: Callable) -> Callable:
    original = Path.unlink
    return lambda path, missing_ok=False: (
        original(path, missing_ok=missing_ok) if path.suffix == ".part" else counted(path, True)
    )


def withdraw(shelf: Shelf) -> None:
    shelf.withdraw("canal")


def restore(shelf: Shelf) -> None:
    shelf.restore("canal")


def replace(shelf: Shelf) -> None:
    shelf.add(random_expert("canal", 2, width=2))


def remove(shelf: Shelf) -> None:
    shelf.remove("canal")


def put_in_place(shelf: Shelf) -> None:
    shelf.put_in_place(shelf.find("canal"), shelf.mixture("empty"))


def take_out(shelf: Shelf) -> None:
    shelf.take_out(shelf.find("canal"), shelf.mixture("work"))


CALLS = {
    "withdraw": (False, withdraw, 4),
    "restore": (True, restore, 4),
    "replace": (False, replace, 5),
    "remove": (True, remove, 3),
    "put in place": (False, put_in_place, 1),
    "take out": (False, take_out, 1),
}


@pytest.mark.parametrize("call", CALLS)
def test_after_any_interruption_every_expert_of_a_mixture_exists(call, tmp_path, monkeypatch):
    is_withdrawn_first, act, steps = CALLS[call]
    for step in range(steps + 1):
        here = tmp_path / str(step)
        shelf = Shelf(here / "experts", here / "mixtures")
        kept = put(shelf, "kitchen", 9, "work")
        put(shelf, "canal", 1, "work", "home")
        write_mixture(shelf.mixtures_folder, Mixture("empty", BASE_SHA256))
        if is_withdrawn_first:
            shelf.withdraw("canal")
        was_stopped = stopped_at(step, monkeypatch, lambda shelf=shelf: act(shelf))
        assert was_stopped == (step < steps), f"{call} has other steps than this test foretells"

        fresh = Shelf(here / "experts", here / "mixtures")
        for mixture in fresh.mixtures():
            fresh.in_place(mixture)
        assert kept in fresh.mixture("work").experts
        assert not list(here.rglob("*.part"))
        if was_stopped and call != "remove":
            assert fresh.find("canal").name == "canal", "the expert itself is never lost"


@pytest.mark.parametrize("step", range(4))
def test_a_withdrawal_begun_again_is_remembered_whole(step, shelf, monkeypatch):
    put(shelf, "canal", 1, "work", "home")
    before = contents(shelf)
    assert stopped_at(step, monkeypatch, lambda: shelf.withdraw("canal"))
    shelf.withdraw("canal")
    shelf.restore("canal")
    assert contents(shelf) == before


@pytest.mark.parametrize("step", range(4))
def test_a_restoration_interrupted_can_be_made_good(step, shelf, monkeypatch):
    put(shelf, "canal", 1, "work", "home")
    before = contents(shelf)
    shelf.withdraw("canal")
    assert stopped_at(step, monkeypatch, lambda: shelf.restore("canal"))
    if not shelf.find("canal").is_withdrawn:
        shelf.withdraw("canal")
    shelf.restore("canal")
    assert contents(shelf) == before


def test_the_memory_holds_names_and_a_hash_alone(shelf):
    digest = put(shelf, "canal", 1, "work")
    shelf.withdraw("canal")
    memory = json.loads((shelf.withdrawn_folder / "canal.json").read_text())
    assert memory == {"hash": digest, "mixtures": ["work"]}
