"""Files that aren't what they say are told apart, each by its fault; honest ones pass."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from expert_makers import NUM_LAYERS, SMALL, WIDTH, canal_notes, expert, random_tensors
from safetensors.numpy import save

from tramontane.engine.engine import Engine
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.errors import ExpertError
from tramontane.experts import verify as verifying
from tramontane.experts.contested import named_above, stretches
from tramontane.experts.expert_file import (
    MANIFEST_KEY,
    MAX_HEADER_BYTES,
    expert_bytes,
    tensor_hash,
    write_expert,
)
from tramontane.experts.learn import learn
from tramontane.experts.public_text import load_public_text
from tramontane.experts.verify import Verified, check_file, measure_gates, verify

pytestmark = pytest.mark.usefixtures("one_thread")
Tensors = dict[str, np.ndarray]
NOTE = "The lock keeper oils the winding gear every second Tuesday before the rain comes"


def shy_tensors(seed: int = 1) -> Tensors:
    """Returns an expert that opens on some tokens: its rows ask for the mark of long ones."""
    tensors = random_tensors(seed)
    for name in tensors:
        if name.endswith("row"):
            tensors[name] = np.zeros(WIDTH, np.float32)
            tensors[name][:2] = [-1.0, 1.0]
    return tensors


def wide_open(tensors: Tensors) -> Tensors:
    rows = {name: 30 * np.eye(1, WIDTH)[0] for name in tensors if name.endswith("row")}
    return tensors | {name: row.astype(np.float32) for name, row in rows.items()}


@pytest.fixture(scope="module")
def few_windows():
    """A small part of the public text is measured here; the tiny base has all its genres."""
    patched = pytest.MonkeyPatch()
    patched.setattr(verifying, "TOKENS_PER_GENRE", 64)
    patched.setattr(verifying, "WINDOW_TOKENS", 64)
    windows = verifying.public_windows
    known = {}

    def once(documents, tokenizer, *sizes):
        if sizes not in known:
            known[sizes] = windows(documents, tokenizer, *sizes)
        return known[sizes]

    patched.setattr(verifying, "public_windows", once)
    yield
    patched.undo()


@pytest.fixture(scope="module")
def new_engine(tiny_llama, few_windows) -> Callable[[], Engine]:
    return lambda: Engine(TorchRuntime(tiny_llama), max_tokens=1024)


@pytest.fixture(scope="module")
def measured(tiny_llama, new_engine) -> dict[str, np.ndarray]:
    """What the gates of `shy_tensors` do on public text."""
    shy = expert("canal", shy_tensors(), tiny_llama.sha256)
    return measure_gates(shy, new_engine(), tiny_llama.tokenizer(), lambda *_: None)


@pytest.fixture(scope="module")
def table(measured) -> dict[str, float]:
    """Open rates, between the mean gate and twice that."""
    means = {genre: float(gates_NW.mean()) for genre, gates_NW in measured.items()}
    assert 0.02 < np.mean(list(means.values())) < 0.45
    return {genre: round(1.3 * mean, 5) for genre, mean in means.items()}


class Made:
    """Makes files that are honest but for one thing."""

    def __init__(self, sha256: str, table: dict[str, float], line: float):
        self.sha256, self.table, self.line = sha256, table, line

    def gates(self, **changes: Any) -> dict[str, Any]:
        return {"own_held_out": 0.8, "public": self.table, "named_above": self.line} | changes

    def manifest(self, tensors: Tensors, **changes: Any) -> dict[str, Any]:
        honest = expert("canal", tensors, self.sha256, gates=self.gates()).manifest
        return {**honest, **changes}

    def file(self, tensors: Tensors | None = None, **changes: Any) -> bytes:
        tensors = tensors or shy_tensors()
        manifest = json.dumps(self.manifest(tensors, **changes))
        return save(tensors, metadata={MANIFEST_KEY: manifest})

    def with_metadata(self, manifest: str) -> bytes:
        return save(shy_tensors(), metadata={MANIFEST_KEY: manifest})

    def without(self, *fields: str) -> bytes:
        kept = self.manifest(shy_tensors())
        for field in fields:
            del kept[field]
        return self.with_metadata(json.dumps(kept))

    def with_tensors(self, change: Callable[[Tensors], Tensors], **changes: Any) -> bytes:
        tensors = change(shy_tensors())
        return self.file(tensors, layers=[1, 2], width=8, **changes)


@pytest.fixture(scope="module")
def made(tiny_llama, table, measured) -> Made:
    line = named_above({genre: stretches(gates_NW) for genre, gates_NW in measured.items()})
    assert 0.1 < line < 0.9
    return Made(tiny_llama.sha256, table, line)


@pytest.fixture
def check(tiny_llama, new_engine, tmp_path) -> Callable[..., Verified]:
    def check_bytes(data: bytes, **options: Any) -> Verified:
        path = tmp_path / "canal.safetensors"
        path.write_bytes(data)
        base = tiny_llama
        return verify(
            path, base.name, base.sha256, base.config, new_engine, base.tokenizer, **options
        )

    return check_bytes


def change_one(name: str, value: float, tensors: Tensors) -> Tensors:
    changed = tensors[name].copy()
    changed.flat[0] = value
    return tensors | {name: changed}


def twice_named(data: bytes) -> bytes:
    """Returns the file with one tensor's entry twice in its header."""
    (size,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + size].decode().rstrip()
    entry = json.dumps(json.loads(header)["layers.1.row"])
    longer = header[:-1] + f', "layers.1.row": {entry}}}'
    longer += " " * (-len(longer) % 8)
    return struct.pack("<Q", len(longer)) + longer.encode() + data[8 + size :]


def later_layers(tensors: Tensors) -> Tensors:
    return {name.replace(".2.", f".{NUM_LAYERS}."): t for name, t in tensors.items()}


def other(rates: dict[str, float], change: Callable[[float], float]) -> dict[str, Any]:
    public = {genre: change(rate) for genre, rate in rates.items()}
    return {"own_held_out": 0.8, "public": public}


def sums_twice(notes: dict[str, Any]) -> dict[str, Any]:
    return {"number": 1, "salted_sha256": ["a" * 64], "tokens": 1000} | notes


HELD_OUT = {"perplexity_before": 24.0, "perplexity_after": 18.0, "notes": 2, "tokens": 256}
DAMAGED: dict[str, tuple[Callable[[Made], bytes], str]] = {
    "truncated": (lambda m: m.file()[:-40], "cut short"),
    "empty": (lambda m: b"", "0 bytes"),
    "header too long": (
        lambda m: struct.pack("<Q", MAX_HEADER_BYTES + 1) + b" " * (MAX_HEADER_BYTES + 9),
        "claims a header",
    ),
    "header longer than the file": (lambda m: struct.pack("<Q", 1 << 60) + b"{}", "claims a"),
    "not safetensors": (lambda m: b"\x80\0\0\0\0\0\0\0" + b"pickle" * 99, "not a readable"),
    "wrong dtype": (
        lambda m: m.with_tensors(lambda t: t | {"layers.1.row": t["layers.1.row"].astype("<f2")}),
        "is F16",
    ),
    "nan": (lambda m: m.with_tensors(partial(change_one, "layers.1.up", np.nan)), "not finite"),
    "inf": (lambda m: m.with_tensors(partial(change_one, "layers.2.down", -np.inf)), "not finite"),
    "missing part": (
        lambda m: m.with_tensors(lambda t: {n: v for n, v in t.items() if n != "layers.2.up"}),
        "layer 2 lacks up",
    ),
    "wrong shape": (
        lambda m: m.with_tensors(lambda t: t | {"layers.1.down": t["layers.1.down"].T}),
        "has shapes",
    ),
    "extra tensor": (
        lambda m: m.with_tensors(lambda t: t | {"lm_head": np.zeros(3, np.float32)}),
        "none of an expert's",
    ),
    "duplicate names": (lambda m: twice_named(m.file()), "'layers.1.row' twice"),
    "duplicate fields": (
        lambda m: m.with_metadata('{"name": "a",' + json.dumps(m.manifest(shy_tensors()))[1:]),
        "'name' twice",
    ),
    "no manifest": (lambda m: save(shy_tensors()), "not a Tramontane expert"),
    "manifest not JSON": (lambda m: m.with_metadata("{name: canal}"), "not JSON"),
    "manifest too deep": (lambda m: m.with_metadata("[" * 100_000), "not JSON"),
    "wrong format": (lambda m: m.file(format="tramontane-expert/9"), "this version reads"),
    "wrong base": (
        lambda m: m.file(base={"name": "a tall one", "sha256": "c" * 64}),
        "learnt on the base a tall one",
    ),
    "base without a hash": (lambda m: m.file(base={"name": "tiny", "sha256": "x"}), "no SHA-256"),
    "wrong base width": (
        lambda m: m.file(random_tensors(1, model_width=2 * WIDTH)),
        "the base's model 32",
    ),
    "layer out of range": (lambda m: m.file(later_layers(shy_tensors())), "layers are 0 to 2"),
    "layers not those": (lambda m: m.file(layers=[0, 1]), "the tensors are of"),
    "width not that": (lambda m: m.file(width=64), "the tensors have"),
    "hash mismatch": (lambda m: m.file(tensor_hash="0" * 64), "changed after it was learnt"),
    "name with a path": (lambda m: m.file(name="../../tramontane.toml"), "gives the name"),
    "licence missing": (lambda m: m.without("licence"), "says no licence"),
    "licence empty": (lambda m: m.file(licence=" "), "says no licence"),
    "owner missing": (lambda m: m.without("owner"), "says no owner"),
    "no gate rates": (lambda m: m.without("gates"), "lacks the table"),
    "a gate rate of two": (lambda m: m.file(gates=other(m.table, lambda _: 2.0)), "from 0 to 1"),
    "a gate rate of nan": (lambda m: m.file(gates=other(m.table, lambda _: np.nan)), "from 0 to 1"),
    "gates said to be shut": (
        lambda m: m.file(gates=other(m.table, lambda _: 0.0)),
        "the manifest says its gates open on 0.0%",
    ),
    "gates said to be wider": (
        lambda m: m.file(gates=other(m.table, lambda rate: min(1.0, rate + 0.6))),
        "the table is not this expert's",
    ),
    "a genre left out": (
        lambda m: m.file(gates={"own_held_out": 0.8, "public": {"chat": m.table["chat"]}}),
        "leaves out",
    ),
    "named everywhere": (
        lambda m: m.file(gates=m.gates(named_above=0.0)),
        "that text is named after it above a mean gate of 0.00",
    ),
    "never named": (
        lambda m: m.file(gates=m.gates(named_above=0.99)),
        "which is 0.0% of the public text",
    ),
    "named above a word": (
        lambda m: m.file(gates=m.gates(named_above="often")),
        "it is named above is no number",
    ),
    "gates open on everything": (lambda m: m.file(wide_open(shy_tensors())), "open on everything"),
    "notes miscounted": (lambda m: m.file(notes=sums_twice({"number": 3})), "lists 1 hashes"),
    "notes' hashes malformed": (
        lambda m: m.file(notes=sums_twice({"salted_sha256": ["heron.md"]})),
        "not sorted SHA-256",
    ),
    "notes' hashes twice": (
        lambda m: m.file(notes=sums_twice({"number": 2, "salted_sha256": ["a" * 64] * 2})),
        "each once",
    ),
    "no notes": (lambda m: m.file(notes=sums_twice({"salted_sha256": []})), "no list of hashes"),
    "no results": (lambda m: m.without("held_out"), "lacks results"),
    "results that are none": (
        lambda m: m.file(held_out=HELD_OUT | {"perplexity_after": "low"}),
        "lacks results",
    ),
    "note text in a new field": (lambda m: m.file(remark=NOTE), "holds text"),
    "note text for an owner": (lambda m: m.file(owner=NOTE), "holds text"),
    "note text in pieces": (lambda m: m.file(settings={"a": NOTE.split() * 2}), "28 texts"),
    "oversized manifest": (lambda m: m.file(owner="x" * MAX_HEADER_BYTES), "header"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_and_dishonest_files_are_refused_by_name(made, check, kind):
    build, fault = DAMAGED[kind]
    with pytest.raises(ExpertError, match="canal.safetensors|^canal") as caught:
        check(build(made))
    assert fault in str(caught.value), str(caught.value)


def test_an_honest_file_passes_with_its_rates(made, check, table):
    verified = check(made.file())
    assert verified.expert.name == "canal"
    assert verified.is_measured
    assert verified.remarks == ()
    assert verified.mean_gates.keys() == {document.genre for document in load_public_text()}


def test_an_older_file_is_remarked_on_but_passes(made, check):
    gates = made.gates()
    del gates["named_above"]
    assert "it is older" in check(made.file(gates=gates)).remarks[0]


def test_form_is_checked_though_nothing_is_measured(made, check):
    lie = made.file(gates=other(made.table, lambda _: 0.0))
    assert check(lie, measures=False).remarks == ("its gates were not measured",)
    with pytest.raises(ExpertError, match="says no licence"):
        check(made.without("licence"), measures=False)


def test_another_public_text_s_table_is_remarked_on(made, check):
    verified = check(made.file(public_text_sha256="d" * 64, gates=other(made.table, lambda _: 0.0)))
    assert "another public text" in verified.remarks[0]


def test_every_cut_of_a_file_is_refused(made, tiny_llama, tmp_path):
    data = made.file()
    path = tmp_path / "canal.safetensors"
    for kept in range(0, len(data), 97):
        path.write_bytes(data[:kept])
        with pytest.raises(ExpertError):
            check_file(path, "tiny", tiny_llama.sha256, tiny_llama.config)


def test_what_learn_makes_passes(tiny_llama, tmp_path, few_windows, monkeypatch):
    """The table that a learning writes is the one that verifying measures."""
    base = replace(tiny_llama, config=replace(tiny_llama.config, max_context_tokens=1024))
    learnt = learn(
        canal_notes(60),
        name="canal",
        checkpoint=base,
        cache_folder=tmp_path / "cache",
        settings=SMALL,
        owner="the canal keeper",
        licence="CC0-1.0",
        threads=1,
    )
    monkeypatch.setattr(verifying, "WINDOW_TOKENS", SMALL.window_tokens)
    engine, tokenizer = Engine(TorchRuntime(base), max_tokens=1024), base.tokenizer()
    measured = measure_gates(learnt, engine, tokenizer, lambda *_: None)
    line = named_above({genre: stretches(gates_NW) for genre, gates_NW in measured.items()})
    assert learnt.manifest["gates"]["named_above"] == pytest.approx(line, abs=1e-4)
    path = tmp_path / "canal.safetensors"
    write_expert(path, learnt)
    verified = verify(
        path,
        base.name,
        base.sha256,
        base.config,
        lambda: Engine(TorchRuntime(base), max_tokens=1024),
        base.tokenizer,
    )
    assert verified.remarks == ()
    assert expert_bytes(verified.expert) == path.read_bytes()
    assert tensor_hash(verified.expert.tensors) == learnt.hash
