"""Company on the PyTorch runtime: batches, chunks and pages change logits by rounding only.

Its bits may differ (the definition is exempt from law 3), so tokens are compared where the choice
is clear: where no gate, no route and no likeliest token stands within rounding of another. T
tokens, V vocabulary, E experts.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rows import allowed_error, assert_rows_close
from tiny_models import open_tiny, random_expert
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.reading import SCORE_CHUNK_TOKENS
from tramontane.engine.request import Request
from tramontane.engine.runtime import Span, SpanResult
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.model.attention import WindowAttention
from tramontane.model.notes_experts import NotesExperts, Voices

VOCABULARY = 97
HASHES = ("a" * 64, "b" * 64, "c" * 64)
PAGE_TOKENS = 8
# Of its row's largest value: how far a float32 result may lie from another of the same model.
PROMISED = 1e-5


class RecordingRuntime(TorchRuntime):
    """Keeps every row of logits it gave, by request's pages and position."""

    page_tokens = PAGE_TOKENS

    def __init__(self, checkpoint: Checkpoint):
        super().__init__(checkpoint)
        self.rows: list[tuple[int, int, np.ndarray]] = []
        self.largest_batch = 0

    def allocate(self, num_pages: int) -> None:
        """Poisons the pages: what is read before it is written shows."""
        super().allocate(num_pages)
        self.keys_LPGd.fill_(torch.nan)
        self.values_LPGd.fill_(torch.nan)

    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        results = super().forward(spans, with_shares=with_shares)
        self.largest_batch = max(self.largest_batch, len(spans))
        for span, result in zip(spans, results, strict=True):
            end = span.start + len(span.token_ids)
            for position, row in zip(
                range(end - span.num_logits, end), result.logits_LV, strict=True
            ):
                self.rows.append((span.pages[0], position, row))
        return results


@pytest.fixture(params=["llama", "mixtral", "mistral with a sliding window"])
def checkpoint(request, tmp_path) -> Checkpoint:
    kind, _, window = request.param.partition(" ")
    return open_tiny(kind, tmp_path, **({"sliding_window": 16} if window else {}))


def engine_for(checkpoint: Checkpoint, num_experts: int = 0, **settings) -> Engine:
    engine = Engine(RecordingRuntime(checkpoint), **settings)
    for number in range(num_experts):
        engine.add_expert(HASHES[number], arrays(random_expert(number)))
    return engine


def arrays(expert: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in expert.items()}


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(VOCABULARY, (length,), generator=g).tolist())


def generated(engine: Engine, request: Request) -> list[int]:
    return [token.token_id for token in engine.generate(request)]


class Whole:
    """One forward pass over a whole text without pages: its logits, and where choices are close."""

    def __init__(self, engine: Engine, token_ids: Sequence[int], experts: Sequence[str] = ()):
        self.transformer, T = engine.runtime.transformer, len(token_ids)
        self.config, self.voices = self.transformer.config, Voices()
        tensors = {digest: engine.runtime.experts[digest] for digest in experts}
        self.notes = NotesExperts(tensors).at(voices=self.voices) if tensors else None
        self.allowed = min(PROMISED, allowed_error(self.config, T))
        self.is_close_T = torch.zeros(T, dtype=torch.bool)
        self.logits_TV = self.transformer(
            torch.tensor(token_ids),
            torch.arange(T),
            WindowAttention(T, self.config.sliding_window),
            self,
        )

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor:
        """Looks at the block's input where the notes experts do, then lets them add."""
        if self.config.is_mixture:
            weight_ED = self.transformer.layers[layer].route.weight
            self.note_margins(h_TD, weight_ED, self.config.num_chosen_experts)
        if self.notes is None:
            return y_TD
        if layer in self.notes.experts.layers:
            rows_ED = self.notes.experts.layers[layer].rows_ED
            self.note_margins(h_TD, torch.cat([rows_ED, torch.zeros(1, h_TD.shape[1])]), 2)
            self.note_margins(h_TD, rows_ED, None)
        return self.notes.add_to(layer, y_TD, h_TD)

    def note_margins(self, h_TD: Tensor, rows_ED: Tensor, num_chosen: int | None) -> None:
        """Marks tokens whose choice among rows is within rounding of another.

        `num_chosen` of the rows are chosen; None: each whose logit is above 0.
        """
        logits_TE = h_TD @ rows_ED.T
        # If h moves by a part of its length, no logit moves by more than this.
        noise_T = 2 * self.allowed * h_TD.norm(dim=-1) * rows_ED.norm(dim=-1).max()
        if num_chosen is None:
            margin_T = logits_TE.abs().amin(dim=-1)
        else:
            ranked_TE = logits_TE.sort(dim=-1, descending=True).values
            if num_chosen >= ranked_TE.shape[-1]:
                return
            margin_T = ranked_TE[:, num_chosen - 1] - ranked_TE[:, num_chosen]
        self.is_close_T |= margin_T <= noise_T

    @property
    def num_clear(self) -> int:
        """How many tokens stand before the first whose gates or routes are close.

        Every later token may attend to that one.
        """
        return int((~self.is_close_T).int().cumprod(0).sum())

    def is_token_clear(self, position: int) -> bool:
        """Whether the token after `position` must be the same in any company."""
        first, second = self.logits_TV[position].topk(2).values
        margin = float(first - second) / float(self.logits_TV[position].abs().max())
        return position < self.num_clear and margin > 2 * self.allowed


def assert_same_where_clear(
    engine: Engine, request: Request, alone: Sequence[int], together: Sequence[int]
) -> int:
    """Returns how many of the tokens were clear; those must agree up to the first that isn't."""
    whole = Whole(engine, [*request.token_ids, *alone], request.experts)
    num_clear = 0
    for number, (a, b) in enumerate(zip(alone, together, strict=True)):
        if not whole.is_token_clear(len(request.token_ids) - 1 + number):
            break
        assert a == b, f"token {number} of {request.token_ids[:4]}..."
        num_clear += 1
    return num_clear


@pytest.mark.parametrize("num_experts", [0, 3])
@pytest.mark.parametrize("max_batch_tokens", [5, 512])
def test_tokens_generated_together_equal_tokens_generated_alone(
    checkpoint, num_experts, max_batch_tokens
):
    engine = engine_for(checkpoint, num_experts, max_batch_tokens=max_batch_tokens, max_tokens=2048)
    # Each with other experts in place: none, one, two, all.
    mine = [HASHES[:number] for number in range(num_experts + 1)]
    requests = [
        Request(prompt(length, seed=length), 12, experts=mine[number % len(mine)])
        for number, length in enumerate((1, 2, 7, 8, 9, 40, 70))
    ]
    alone = [generated(engine, request) for request in requests]
    engine.runtime.largest_batch = 0
    numbers = {engine.submit(request): number for number, request in enumerate(requests)}
    together: list[list[int]] = [[] for _ in requests]
    while engine.has_work:
        for token in engine.step():
            together[numbers[token.request_id]].append(token.token_id)
    assert engine.runtime.largest_batch == min(max_batch_tokens, len(requests))
    num_clear = sum(
        assert_same_where_clear(engine, *one) for one in zip(requests, alone, together, strict=True)
    )
    num_tokens = sum(map(len, alone))
    print(f"{num_tokens - num_clear} of {num_tokens} tokens after a margin within rounding")
    assert num_clear > 0.9 * num_tokens


@pytest.mark.parametrize("max_batch_tokens", [1, 3, 8, 9, 64])
def test_chunked_prompts_give_the_logits_of_whole_ones(checkpoint, max_batch_tokens):
    engine = engine_for(checkpoint, 2, max_batch_tokens=max_batch_tokens)
    token_ids = prompt(61, seed=3)
    request = Request(token_ids, 6, experts=HASHES[:2])
    answer = generated(engine, request)
    text = [*token_ids, *answer]
    whole = Whole(engine, text, request.experts)
    positions = [position for _, position, _ in engine.runtime.rows]
    assert positions == list(range(60, 66)), "one row of logits for each token drawn"
    assert whole.num_clear > 60
    actual_TV = torch.from_numpy(np.array([row for *_, row in engine.runtime.rows]))
    num_clear = whole.num_clear - 60
    assert_rows_close(actual_TV[:num_clear], whole.logits_TV[60:66][:num_clear], whole.allowed)


@pytest.mark.parametrize("length", [1, 2, 9, SCORE_CHUNK_TOKENS, SCORE_CHUNK_TOKENS + 1, 300])
def test_scores_are_the_log_softmax_of_a_whole_forward_pass(checkpoint, length):
    engine = engine_for(checkpoint)
    token_ids = prompt(length, seed=length)
    scores = engine.score(token_ids)
    assert scores.shape == (length - 1,)
    whole = Whole(engine, token_ids)
    logprobs_TV = whole.logits_TV.double().log_softmax(dim=-1)
    expected = [float(logprobs_TV[i - 1, token_ids[i]]) for i in range(1, length)]
    # A log-probability moves by at most twice what the row's logits move by.
    bound_T = 2 * whole.allowed * whole.logits_TV.abs().amax(dim=-1)
    for i in range(1, min(length, whole.num_clear + 1)):
        assert abs(scores[i - 1] - expected[i - 1]) <= bound_T[i - 1], f"token {i}"
    assert whole.num_clear > 0.6 * length
    assert engine.pages.num_free == engine.num_pages


def test_many_scores_equal_single_ones(checkpoint):
    engine = engine_for(checkpoint, 1)
    texts = [
        (prompt(length, seed=length), start)
        for length, start in ((2, 1), (30, 20), (9, 9), (270, 3), (270, 260), (5, 2), (1, 1))
    ]
    for experts in ((), HASHES[:1]):
        together = engine.score_many(texts, experts=experts)
        for (token_ids, start), scores in zip(texts, together, strict=True):
            assert scores.shape == (len(token_ids) - start,)
            alone = engine.score(token_ids, experts=experts)[start - 1 :]
            whole = Whole(engine, token_ids, experts)
            num_clear = max(0, whole.num_clear - start)
            bound = 4 * whole.allowed * float(whole.logits_TV.abs().max())
            assert np.abs(scores - alone)[:num_clear].max(initial=0) <= bound


def test_shares_of_a_text_equal_those_of_a_whole_forward_pass(checkpoint):
    engine = engine_for(checkpoint, 3)
    token_ids = prompt(SCORE_CHUNK_TOKENS + 20, seed=3)
    asked = (HASHES[2], HASHES[0])
    shares_TE, gates_TE = engine.shares_of(token_ids, experts=asked)
    assert shares_TE.shape == gates_TE.shape == (len(token_ids), 2)
    assert (shares_TE >= 0).all()
    assert (shares_TE.sum(axis=1) < 1).all()
    assert ((shares_TE > 0) == (gates_TE > 0)).all()
    assert 0.2 < (shares_TE > 0).mean() < 0.9
    # They stand in the order of the hashes, however the experts were named.
    whole = Whole(engine, token_ids, asked)
    num_clear = whole.num_clear
    assert num_clear > SCORE_CHUNK_TOKENS
    assert shares_TE[:num_clear] == pytest.approx(
        whole.voices.shares()[:num_clear].numpy(), abs=8 * whole.allowed
    )
    assert gates_TE[:num_clear] == pytest.approx(
        whole.voices.gates()[:num_clear].numpy(), abs=8 * whole.allowed
    )


def test_shares_of_nobody_are_empty(checkpoint):
    engine = engine_for(checkpoint)
    shares_TE, gates_TE = engine.shares_of(prompt(9), experts=())
    assert shares_TE.shape == gates_TE.shape == (9, 0)


def test_generated_tokens_carry_the_shares_of_their_position(checkpoint):
    engine = engine_for(checkpoint, 2)
    silent = engine.submit(Request(prompt(5), 8))
    token_ids = prompt(20, seed=4)
    request = Request(token_ids, 8, experts=HASHES[:2], with_shares=True)
    tokens = list(engine.generate(request))
    text = [*token_ids, *(token.token_id for token in tokens)]
    shares_TE, gates_TE = engine.shares_of(text, experts=HASHES[:2])
    whole = Whole(engine, text, HASHES[:2])
    for number, token in enumerate(tokens):
        position = len(token_ids) - 1 + number
        assert token.request_id != silent
        if position < whole.num_clear:
            assert token.shares == pytest.approx(shares_TE[position], abs=8 * whole.allowed)
            assert token.gates == pytest.approx(gates_TE[position], abs=8 * whole.allowed)
    assert whole.num_clear > len(token_ids)


# Experts in place


def test_mixtures_are_sets_whatever_came_and_went(checkpoint):
    """Law 2: the order of adding and removing leaves no trace in any bit."""
    token_ids = prompt(50)
    a, b, c = HASHES
    plain = engine_for(checkpoint)
    base = plain.logits_hash(token_ids)
    built_once = engine_for(checkpoint, 2)
    expected = {
        mine: built_once.logits_hash(token_ids, experts=mine) for mine in ((), (a,), (b,), (a, b))
    }
    assert expected[()] == base
    assert len(set(expected.values())) == 4
    changed = engine_for(checkpoint)
    for digest in (c, b, a):
        changed.add_expert(digest, arrays(random_expert(HASHES.index(digest))))
    for mine, digest in expected.items():
        assert changed.logits_hash(token_ids, experts=mine) == digest, "a third expert is loaded"
    changed.remove_expert(c)
    changed.remove_expert(a)
    changed.add_expert(a, arrays(random_expert(0)))
    for mine, digest in expected.items():
        assert changed.logits_hash(token_ids, experts=reversed(mine)) == digest
    for digest in (a, b):
        changed.remove_expert(digest)
    assert changed.logits_hash(token_ids) == base


def test_an_expert_that_comes_leaves_running_requests_their_bits(checkpoint):
    request = Request(prompt(30), 10, experts=HASHES[:1])
    undisturbed = engine_for(checkpoint, 1)
    expected = generated(undisturbed, request)
    disturbed = engine_for(checkpoint, 1)
    stream = disturbed.generate(request)
    answer = [next(stream).token_id for _ in range(3)]
    disturbed.add_expert(HASHES[1], arrays(random_expert(1)))
    answer += [next(stream).token_id for _ in range(3)]
    disturbed.remove_expert(HASHES[1])
    answer += [token.token_id for token in stream]
    assert answer == expected
    for mine, theirs in zip(disturbed.runtime.rows, undisturbed.runtime.rows, strict=True):
        assert np.array_equal(mine[2], theirs[2])
