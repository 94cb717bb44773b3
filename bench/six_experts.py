"""Six experts that two of speak in every token, and their export, which llama.cpp routes alike.

    python bench/six_experts.py [--model BASE.gguf] [--out FOLDER] [--llama-routes PROGRAM]

The experts have the size of learnt ones (width 128, upper third of the layers) and random weights.
Their rows open two gates at every token and spread the 15 pairs over the tokens: with μ_g the mean
state of a genre of text and Σ the covariance within genres,

    r_d = OPEN · u + SPREAD · w_d      u · h ≈ 1, w_d · μ_g = 0, w_i' Σ w_j = [i = j]

so that all six logits stand above 0 and differ by six independent numbers of variance SPREAD².
Genres are those of the public text, random token ids, which is what llama-bench feeds, and a
window's first tokens, whose states lie far from all others; these go to one pair.

T tokens, D model width, m expert width, G genres.
"""

import argparse
import itertools
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.experts.expert_file import FORMAT, Expert, tensor_hash, write_expert
from tramontane.experts.export import export
from tramontane.experts.public_text import load_public_text
from tramontane.experts.states import Recorder
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import load_transformer

NUM_EXPERTS, WIDTH = 6, 128
OPEN, SPREAD = 4.0, 1.0
# An expert of the base's own scale would be a third of its block; learnt ones are less.
DOWN_SCALE = 0.3
WINDOW_TOKENS, FITTED_WINDOWS, MEASURED_WINDOWS = 256, 4, 2
RANDOM_IDS = "random ids"
# The place of first tokens among the genres.
FIRST_TOKENS = -1
MEASURED_GENRES = ("chat_with_passages", "code", "personal_notes_prose", "prose", RANDOM_IDS)
# Gates are differences of means in float32.
OPEN_GATE = 1e-4


@dataclass(frozen=True)
class SixExperts:
    """`experts` in the order of their hashes, `files` where they lie, `export` the GGUF."""

    experts: tuple[Expert, ...]
    files: tuple[Path, ...]
    export: Path


def make_six_experts(base: Path, out: Path, seed: int = 0) -> SixExperts:
    """Writes six experts for the dense base in a GGUF, and their mixture's export, to `out`."""
    checkpoint = open_checkpoint(base)
    fitted, _ = texts(checkpoint)
    notes_layers = layers_of(checkpoint)
    h_by_genre = states_by_genre(checkpoint, fitted)
    draw = np.random.default_rng(seed)
    tensors: list[dict[str, np.ndarray]] = [{} for _ in range(NUM_EXPERTS)]
    for layer in notes_layers:
        rows = fit_rows([h[layer] for h in h_by_genre.values()], draw)
        for expert, row_D in zip(tensors, rows, strict=True):
            expert[f"layers.{layer}.row"] = row_D
            for part in ("gate", "up", "down"):
                base_part = checkpoint.read(f"layers.{layer}.ffn.{part}.weight")
                shape = (len(base_part), WIDTH) if part == "down" else (WIDTH, base_part.shape[1])
                scale = base_part.std() * (DOWN_SCALE if part == "down" else 1.0)
                expert[f"layers.{layer}.{part}"] = scale * draw.standard_normal(
                    shape, dtype=np.float32
                )
    made = [expert_of(f"six-{i}", checkpoint, parts) for i, parts in enumerate(tensors, start=1)]
    experts = tuple(sorted(made, key=lambda expert: expert.hash))
    files = tuple(out / f"{expert.name}.safetensors" for expert in experts)
    for file, expert in zip(files, experts, strict=True):
        write_expert(file, expert)
    exported = out / "six-experts.gguf"
    exported.unlink(missing_ok=True)
    export(exported, checkpoint, experts, runs=False)
    return SixExperts(experts, files, exported)


def layers_of(checkpoint: Checkpoint) -> range:
    num_layers = checkpoint.config.num_layers
    return range(num_layers - -(-num_layers // 3), num_layers)


def expert_of(name: str, checkpoint: Checkpoint, tensors: dict[str, np.ndarray]) -> Expert:
    manifest = {
        "format": FORMAT,
        "name": name,
        "base": {"name": checkpoint.name, "sha256": checkpoint.sha256},
        "tensor_hash": tensor_hash(tensors),
    }
    return Expert(manifest, tensors)


def texts(checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns token ids by genre, (windows, WINDOW_TOKENS): to fit on, and to measure on."""
    tokenizer = checkpoint.tokenizer()
    count = FITTED_WINDOWS + MEASURED_WINDOWS
    windows: dict[str, np.ndarray] = {}
    documents = sorted(load_public_text(), key=lambda document: document.genre)
    for genre, of_genre in itertools.groupby(documents, key=lambda document: document.genre):
        ids: list[int] = []
        for document in of_genre:
            ids += tokenizer.encode(document.text[: 4 * WINDOW_TOKENS])
            if len(ids) >= count * WINDOW_TOKENS:
                windows[genre] = np.array(ids[: count * WINDOW_TOKENS]).reshape(count, -1)
                break
    draw = np.random.default_rng(1)
    shape = (count, WINDOW_TOKENS)
    windows[RANDOM_IDS] = draw.integers(0, checkpoint.config.vocab_size, shape)
    return (
        {genre: ids[:FITTED_WINDOWS] for genre, ids in windows.items()},
        {genre: ids[FITTED_WINDOWS:] for genre, ids in windows.items()},
    )


@torch.inference_mode()
def states_by_genre(
    checkpoint: Checkpoint, ids_by_genre: dict[str, np.ndarray]
) -> dict[str, dict[int, np.ndarray]]:
    """Returns what the base's blocks are given, (T, D) by genre and layer; first tokens last."""
    transformer = load_transformer(checkpoint)
    found = {}
    for genre, ids in ids_by_genre.items():
        recorder = Recorder()
        positions_T = torch.arange(ids.shape[1]).repeat(len(ids))
        attend = WindowAttention(ids.shape[1], checkpoint.config.sliding_window)
        transformer(torch.from_numpy(ids.reshape(-1)), positions_T, attend, recorder)
        found[genre] = {layer: h_TD.numpy() for layer, h_TD in recorder.h_by_layer.items()}
    first = {
        layer: np.concatenate([h[layer][::WINDOW_TOKENS] for h in found.values()])
        for layer in range(checkpoint.config.num_layers)
    }
    later = {
        genre: {layer: np.delete(h_TD, np.s_[::WINDOW_TOKENS], axis=0) for layer, h_TD in h.items()}
        for genre, h in found.items()
    }
    return later | {"first tokens": first}


def fit_rows(h_by_genre: Sequence[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    """Returns (NUM_EXPERTS, D) rows by the formula above."""
    means_GD = np.stack([h_TD.mean(axis=0, dtype=np.float64) for h_TD in h_by_genre])
    centred = np.concatenate(
        [h_TD - mean_D for h_TD, mean_D in zip(h_by_genre, means_GD, strict=True)]
    )
    D = centred.shape[1]
    cov_DD = centred.T.astype(np.float64) @ centred / len(centred)
    cov_DD += 1e-3 * np.trace(cov_DD) / D * np.eye(D)
    eigenvalues_D, vectors_DD = np.linalg.eigh(cov_DD)
    whiten_DD = vectors_DD * eigenvalues_D**-0.5 @ vectors_DD.T
    # Random directions of the whitened space, at right angles to each other and to every mean.
    whitened_means = means_GD @ whiten_DD
    num_means = len(means_GD)
    basis, _ = np.linalg.qr(
        np.concatenate([whitened_means, draw.standard_normal((NUM_EXPERTS, D))]).T
    )
    directions = basis.T[num_means:] @ whiten_DD
    # Of least noise among those with u_i · μ_g = [i = g]; their sum is u.
    gram_GG = whitened_means @ whitened_means.T
    units_GD = np.linalg.solve(gram_GG, whitened_means) @ whiten_DD
    apart = draw.permutation(np.linspace(-1.5, 1.5, NUM_EXPERTS))
    first = apart[:, None] * units_GD[FIRST_TOKENS]
    return (OPEN * units_GD.sum(axis=0) + SPREAD * (directions + first)).astype(np.float32)


# Measuring


def native_routes(
    checkpoint: Checkpoint, experts: Sequence[Expert], ids: Sequence[int]
) -> dict[int, np.ndarray]:
    """Returns (T, E) gates of `native` in each notes layer.

    The runtime tells the mean over notes layers; with one layer more at a time, the differences
    are the layers' own.
    """
    gates, total = {}, 0.0
    engine = Engine(NativeRuntime(checkpoint))
    for count, last in enumerate(layers_of(checkpoint), start=1):
        for digest in engine.runtime.expert_hashes:
            engine.remove_expert(digest)
        for expert in experts:
            below = {n: t for n, t in expert.tensors.items() if int(n.split(".")[1]) <= last}
            engine.add_expert(expert.hash, below)
        _, mean_TE = engine.shares_of(ids, experts=[expert.hash for expert in experts])
        gates[last] = count * mean_TE - total
        total = count * mean_TE
    return gates


def llama_routes(program: Path, model: Path, ids: Sequence[int]) -> dict[int, np.ndarray]:
    """Returns (T, 2) slots that llama.cpp chose in each layer, best first."""
    with tempfile.TemporaryDirectory() as folder:
        tokens, routes = Path(folder, "tokens.i32"), Path(folder, "routes.i32")
        np.asarray(ids, "<i4").tofile(tokens)
        subprocess.run([program, model, tokens, routes], check=True)
        said = np.fromfile(routes, "<i4")
    found, at = {}, 0
    while at < len(said):
        layer, num_tokens = said[at : at + 2]
        found[int(layer)] = said[at + 2 : at + 2 + 2 * num_tokens].reshape(-1, 2)
        at += 2 + 2 * int(num_tokens)
    return found


def pairs_of(gates_TE: np.ndarray) -> np.ndarray:
    """Returns (T, 2): the two experts open for each token, or -1, -1 where there aren't two."""
    is_open_TE = gates_TE > OPEN_GATE
    pairs_T2 = np.sort(np.argsort(-gates_TE, axis=1)[:, :2], axis=1)
    pairs_T2[is_open_TE.sum(axis=1) != 2] = -1
    return pairs_T2


def shares_of_pairs(pairs_T2: np.ndarray) -> np.ndarray:
    """Returns what share of tokens each of the 15 pairs has."""
    all_pairs = itertools.combinations(range(NUM_EXPERTS), 2)
    return np.array([(pairs_T2 == pair).all(axis=1).mean() for pair in all_pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a GGUF file instead of pulling smollm2")
    parser.add_argument("--out", type=Path, help="a folder to keep experts and export in")
    parser.add_argument("--llama-routes", type=Path, help="built from llama_routes.cpp")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        store = Store(Path(work) / "models")
        base = given.model or pull("smollm2", store, lambda *_: None).path
        six = make_six_experts(base, given.out or Path(work))
        measure(open_checkpoint(base), six, given.llama_routes)


def measure(checkpoint: Checkpoint, six: SixExperts, program: Path | None) -> None:
    """Prints how many tokens have two gates open, how pairs spread, and llama.cpp's choices."""
    _, measured = texts(checkpoint)
    print(f"{'genre':18} {'two open':>9} {'pairs: least':>13} {'most':>6} {'llama.cpp alike':>16}")
    for genre in MEASURED_GENRES:
        pairs, same = [], []
        for ids in measured[genre].tolist():
            native = native_routes(checkpoint, six.experts, ids)
            pairs += [pairs_of(gates_TE) for gates_TE in native.values()]
            if program:
                theirs = llama_routes(program, six.export, ids)
                same += [
                    (np.sort(theirs[layer] - 2, axis=1) == pairs_of(gates_TE)).all(axis=1)
                    for layer, gates_TE in native.items()
                ]
        pairs_T2 = np.concatenate(pairs)
        shares = shares_of_pairs(pairs_T2)
        alike = f"{np.concatenate(same).mean():.1%}" if same else "not run"
        two_open = (pairs_T2[:, 0] >= 0).mean()
        print(f"{genre:18} {two_open:9.2%} {shares.min():13.1%} {shares.max():6.1%} {alike:>16}")


if __name__ == "__main__":
    main()
