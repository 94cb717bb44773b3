"""What a checker learns on is what a model that reads whole prompts would see; no fold sees both
halves."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="learning needs the extra `learn`")

BENCH = Path(__file__).parents[1] / "bench"
sys.path.append(str(BENCH))  # its scripts import each other by name

from checker_learning import Checking, Prompt, Reading  # noqa: E402
from checker_sets import balanced_weights, of_fold, without_spans  # noqa: E402
from support_sets import Item  # noqa: E402
from tiny_models import save_tiny  # noqa: E402
from tramontane.checkpoint.checkpoint import open_checkpoint  # noqa: E402
from tramontane.experts.training import Schedule  # noqa: E402
from tramontane.model.attention import WindowAttention  # noqa: E402
from tramontane.model.transformer import load_transformer  # noqa: E402

FIRST, WIDTH, MODEL_WIDTH = 1, 8, 48
ASKING = SimpleNamespace(question=(5, 6, 7, 8), answers=(11, 12))
PROMPTS = [
    Prompt((1, 20, 21, 22), (30, 31, 32)),
    Prompt((1, 20, 21, 22), (33,)),
    Prompt((1, 40), (41, 42, 43, 44, 45)),
]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny("llama", folder)
    return load_transformer(open_checkpoint(folder))


@pytest.fixture
def training(transformer) -> Checking:
    draw = torch.Generator().manual_seed(0)
    shapes = {
        "gate": (WIDTH, MODEL_WIDTH),
        "up": (WIDTH, MODEL_WIDTH),
        "down": (MODEL_WIDTH, WIDTH),
        "row": (MODEL_WIDTH,),
    }
    tensors = {
        f"layers.{layer}.{part}": torch.randn(shape, generator=draw) / 4
        for layer in (FIRST, FIRST + 1)
        for part, shape in shapes.items()
    }
    schedule = Schedule(
        num_windows=3, batch_windows=3, epochs=40, learning_rate=0.01, divergence_weight=0, seed=0
    )
    return Checking(transformer, FIRST, tensors, schedule, ASKING)


def whole(transformer, prompt: Prompt, notes=None) -> float:
    """Returns the answer of a model that reads the whole prompt, gates open in the question."""
    ids = [*prompt.passage, *prompt.sentence, *ASKING.question]
    T = len(ids)
    if notes is not None:
        allowed_T1 = torch.arange(T)[:, None] >= T - len(ASKING.question)
        notes = notes.at(allowed_T1)
    with torch.no_grad():
        logits_TV = transformer(torch.tensor(ids), torch.arange(T), WindowAttention(T), notes)
    yes, no = ASKING.answers
    return float(logits_TV[-1, yes] - logits_TV[-1, no])


@pytest.mark.parametrize("with_expert", [False, True])
def test_a_question_asked_of_kept_states_is_answered_as_in_the_whole_prompt(
    transformer, training, tmp_path, with_expert
):
    reads = Reading(transformer, ASKING, FIRST, tmp_path).read(PROMPTS, "base")
    answers = training.answers(reads, with_expert=with_expert)
    notes = training.notes if with_expert else None
    wanted = [whole(transformer, prompt, notes) for prompt in PROMPTS]
    # Keys are kept in float16: 11 bits of a number.
    assert np.abs(answers - wanted).max() < 2**-10 * np.abs(wanted).max() * 8
    if with_expert:
        without = [whole(transformer, prompt) for prompt in PROMPTS]
        assert np.abs(answers - without).min() > 0.01


def test_what_was_read_is_read_back_in_its_order(transformer, training, tmp_path):
    reading = Reading(transformer, ASKING, FIRST, tmp_path)
    first = training.answers(reading.read(PROMPTS, "base"))
    reading.transformer = None  # nothing is computed again
    assert np.array_equal(training.answers(reading.read(PROMPTS, "base")), first)


def test_steps_teach_the_labels_they_are_given(transformer, training, tmp_path):
    reads = Reading(transformer, ASKING, FIRST, tmp_path).read(PROMPTS, "base")
    y_N, weights_N = np.array([1.0, 0.0, 1.0]), np.ones(3)
    losses = [training.learn_from(reads, y_N, weights_N) for _ in range(40)]
    assert losses[-1] < 0.1 < losses[0]
    assert np.array_equal(training.answers(reads) > 0, y_N == 1)


def test_no_document_and_no_corrupt_kind_is_of_both_folds():
    items = [Item("s", "p", True, f"document {n // 3}") for n in range(60)]
    first, second = of_fold("samsum", items, 0), of_fold("samsum", items, 1)
    assert np.array_equal(first, ~second)
    assert first.any()
    assert second.any()
    documents = [
        {i.document for i, f in zip(items, of, strict=True) if f} for of in (first, second)
    ]
    assert not documents[0] & documents[1]
    kinds = [Item("s", "p", False, "d", kind) for kind in ("number", "negation", "verbatim")]
    assert of_fold("corruptions", kinds, 0).tolist() == [True, False, True]
    assert of_fold("corruptions", kinds, 1).tolist() == [False, True, True]


def test_both_answers_weigh_alike_within_a_source():
    y_N = np.array([1.0, 0, 0, 0, 1, 0])
    sources_N = np.array(["a", "a", "a", "a", "b", "b"])
    weights_N = balanced_weights(y_N, sources_N)
    assert weights_N[0] == pytest.approx(weights_N[1:4].sum()) == pytest.approx(2)
    assert weights_N[4:].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ([False, False, True, True, False], "The mill stands."),
        ([True, False, False, False, False], "old mill stands."),
    ],
)
def test_a_claim_loses_its_unsupported_words(flags, kept):
    tokens = ["The", "old", "mill", "stands", "."]
    if flags[2]:
        tokens = ["The", "mill", "of", "1803", "stands."]
        claim = "The mill of 1803 stands."
    else:
        claim = "The old mill stands."
    assert without_spans(claim, tokens, flags) == kept
    assert without_spans("Another claim.", tokens, flags) == ""
