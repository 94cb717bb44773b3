"""A base's states before a question → an expert that answers: does the passage back the sentence?

A prompt is a passage, a sentence, and a question that is the same for all. Gates open in the
question only. So the keys and values of what comes before are the base's own, are computed once and
serve every step of every learning; a step costs the question's few tokens.

The answer is log p(" Yes") − log p(" No") after the question's last token.

B prompts, T tokens, K tokens seen, O tokens of the question, D model width, H query heads, G key
heads, d head width, L the layers from the expert's first on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, scaled_dot_product_attention

from cells import hash_of
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.experts.corpus import public_corpus
from tramontane.experts.learning import strongest_neurons
from tramontane.experts.public_text import load_public_text
from tramontane.experts.route import Row, fit_row
from tramontane.experts.states import Recorder, compute_states
from tramontane.experts.training import Misfires, Schedule, Training
from tramontane.model.transformer import Transformer
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.signals import Passages, Text

BEFORE_PASSAGE, BEFORE_SENTENCE = "Passage:\n", "\n\nSentence:\n"
QUESTION = "\n\nIs this sentence backed by the passage? Answer:"
ANSWERS = (" Yes", " No")
MOST_EVIDENCE_TOKENS = 120
WINDOW_TOKENS, PUBLIC_TOKENS_PER_GENRE, ROW_PROMPTS = 256, 1024, 160
# As many tokens as pass the trunk together; prompts kept in one file.
TOKENS_AT_ONCE, PROMPTS_PER_FILE = 480, 64


@dataclass(frozen=True)
class Prompt:
    """What is read before the question: the passage's tokens, which prompts share, and the rest."""

    passage: tuple[int, ...]
    sentence: tuple[int, ...]


class Prompts:
    """Makes prompts, of bounded length whatever the passage."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.question = tuple(tokenizer.encode(QUESTION))
        self.answers = tuple(tokenizer.encode(answer)[0] for answer in ANSWERS)

    def prompt(self, sentence: str, passage: str, most_whole: int) -> Prompt:
        """Returns the prompt; of a passage of more than `most_whole` tokens what lies nearest."""
        evidence = self.evidence(sentence, passage, most_whole)
        encode = self.tokenizer.encode
        return Prompt(
            (self.tokenizer.separator_id, *encode(BEFORE_PASSAGE), *encode(evidence)),
            (*encode(BEFORE_SENTENCE), *encode(sentence)),
        )

    def evidence(self, sentence: str, passage: str, most_whole: int) -> str:
        if len(self.tokenizer.encode(passage)) <= most_whole:
            return passage
        prepared = Passages([passage])
        kept, count = [], 0
        for place in prepared.evidence(Text(sentence)):
            count += len(self.tokenizer.encode(prepared.sentences[place].text))
            if kept and count > MOST_EVIDENCE_TOKENS:
                break
            kept.append(place)
        text = "\n".join(prepared.sentences[place].text for place in sorted(kept))
        # One sentence of a thousand tokens is cut.
        return text[: 8 * MOST_EVIDENCE_TOKENS]


# What the base makes of prompts, kept on disk


class Branches:
    """Attention of spans that stand side by side: each sees the passage it follows, and itself."""

    def __init__(self, follows: Sequence[int], lengths: Sequence[int], passages: Sequence[Tensor]):
        """`follows` is each span's passage, -1 for none; passages are keys (L, T, 2, G, d)."""
        self.passages = passages
        span_T = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        causal_TT = (span_T[:, None] == span_T) & torch.ones(len(span_T), len(span_T)).tril().bool()
        sizes = torch.tensor([keys.shape[1] for keys in passages], dtype=torch.long)
        passage_K = torch.repeat_interleave(torch.arange(len(passages)), sizes)
        follows_T = torch.tensor(follows)[span_T]
        self.mask_TK = torch.cat([follows_T[:, None] == passage_K, causal_TT], dim=1)
        self.kept: dict[int, Tensor] = {}

    def keep_only(self, chosen_T: Tensor) -> None:
        """Goes on with some of the tokens; none of the others is seen by them."""
        num_before = self.mask_TK.shape[1] - len(chosen_T)
        columns_K = torch.cat([torch.ones(num_before, dtype=torch.bool), chosen_T])
        self.mask_TK = self.mask_TK[chosen_T][:, columns_K]

    def __call__(self, layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
        self.kept[layer] = torch.stack([k_TGd, v_TGd], dim=1)
        here = torch.cat([*(keys[layer] for keys in self.passages), self.kept[layer]])
        k_KGd, v_KGd = here.unbind(1)
        repeats = q_THd.shape[1] // k_TGd.shape[1]
        q, k, v = (
            x.transpose(0, 1)
            for x in (
                q_THd,
                k_KGd.repeat_interleave(repeats, dim=1),
                v_KGd.repeat_interleave(repeats, dim=1),
            )
        )
        mixed = scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=self.mask_TK)
        return mixed[0].transpose(0, 1)


@dataclass(frozen=True)
class Read:
    """A prompt as the base read it.

    `keys` are the keys and values (L, K, 2, G, d) of its passage and of its sentence, float16;
    `question` (O, D) the question's states before the expert's first layer.
    """

    keys: tuple[Tensor, Tensor]
    question: Tensor

    @property
    def num_tokens(self) -> int:
        return sum(part.shape[1] for part in self.keys)


class Reading:
    """Reads prompts with the base, up to what an expert from layer `first` on would change."""

    def __init__(self, transformer: Transformer, prompts: Prompts, first: int, folder: Path):
        self.transformer, self.question, self.first = transformer, prompts.question, first
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, prompts: Sequence[Prompt], base_sha256: str) -> list[Read]:
        """Returns each prompt as it was read, from its file where it was before."""
        order = sorted(range(len(prompts)), key=lambda n: (prompts[n].passage, prompts[n].sentence))
        found: dict[int, Read] = {}
        for begin in range(0, len(order), PROMPTS_PER_FILE):
            places = order[begin : begin + PROMPTS_PER_FILE]
            part = [prompts[place] for place in places]
            key = [base_sha256, self.first, self.question, [(p.passage, p.sentence) for p in part]]
            file = self.folder / f"read-{hash_of(key)[:16]}.safetensors"
            if not file.exists():
                unfinished = file.with_suffix(".part")
                save_file(self.tensors(part), unfinished)
                unfinished.replace(file)
                print(f"read {begin + len(places)} of {len(order)}", flush=True)
            tensors = load_file(file)
            for n, place in enumerate(places):
                passage = tensors[f"passage.{int(tensors['follows'][n])}"]
                found[place] = Read((passage, tensors[f"keys.{n}"]), tensors[f"question.{n}"])
        return [found[place] for place in range(len(prompts))]

    @torch.inference_mode()
    def tensors(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        passages = sorted({prompt.passage for prompt in prompts})
        tensors = {}
        for group in groups([len(passage) for passage in passages]):
            spans = [passages[n] for n in group]
            keys, _ = self.run(spans, [0] * len(spans), [-1] * len(spans), [], ends=())
            tensors |= {f"all.{n}": kept for n, kept in zip(group, keys, strict=True)}
        follows = [passages.index(prompt.passage) for prompt in prompts]
        tensors["follows"] = torch.tensor(follows)
        for group in groups([len(p.sentence) + len(self.question) for p in prompts]):
            used = sorted({follows[n] for n in group})
            keys, questions = self.run(
                [prompts[n].sentence for n in group],
                [len(prompts[n].passage) for n in group],
                [used.index(follows[n]) for n in group],
                [tensors[f"all.{n}"] for n in used],
                ends=self.question,
            )
            for n, kept, question in zip(group, keys, questions, strict=True):
                tensors[f"keys.{n}"] = kept[self.first :].half().contiguous()
                tensors[f"question.{n}"] = question.contiguous()
        for n in range(len(passages)):
            kept = tensors.pop(f"all.{n}")
            tensors[f"passage.{n}"] = kept[self.first :].half().contiguous()
        return tensors

    def run(
        self,
        spans: Sequence[Sequence[int]],
        starts: Sequence[int],
        follows: Sequence[int],
        passages: Sequence[Tensor],
        ends: Sequence[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Returns each span's keys (layers, T, 2, G, d), and states of its ends before `first`."""
        lengths = [len(span) + len(ends) for span in spans]
        attend = Branches(follows, lengths, passages)
        ids = [token for span in spans for token in (*span, *ends)]
        positions = [
            s + i for s, length in zip(starts, lengths, strict=True) for i in range(length)
        ]
        is_end = [i >= len(span) for span in spans for i in range(len(span) + len(ends))]
        x_TD = self.transformer.embed(torch.tensor(ids))
        rope = self.transformer.rope(torch.tensor(positions))
        x_TD = self.transformer.run(x_TD, rope, attend, end=self.first)
        is_end_T = torch.tensor(is_end)
        questions = list(x_TD[is_end_T].split(len(ends))) if ends else []
        for layer in range(self.first):
            attend.kept[layer] = attend.kept[layer][~is_end_T]
        attend.keep_only(~is_end_T)
        rope = tuple(angle[~is_end_T] for angle in rope)
        self.transformer.run(x_TD[~is_end_T], rope, attend, first=self.first)
        kept = torch.stack([attend.kept[layer] for layer in sorted(attend.kept)])
        return list(kept.split([len(span) for span in spans], dim=1)), questions


def groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yields places in order, about TOKENS_AT_ONCE tokens at a time."""
    group, total = [], 0
    for place, size in enumerate(sizes):
        if group and total + size > TOKENS_AT_ONCE:
            yield group
            group, total = [], 0
        group.append(place)
        total += size
    if group:
        yield group


# The expert


class Remembering:
    """Attention of questions to what was read before them, and to themselves."""

    def __init__(self, reads: Sequence[Read], first: int):
        self.first, self.O = first, len(reads[0].question)
        B, most = len(reads), max(read.num_tokens for read in reads)
        L, _, _, G, d = reads[0].keys[0].shape
        self.keys_LBK2Gd = torch.zeros(L, B, most, 2, G, d)
        seen_BK = torch.zeros(B, most, dtype=torch.bool)
        for b, read in enumerate(reads):
            at = 0
            for part in read.keys:
                self.keys_LBK2Gd[:, b, at : at + part.shape[1]] = part
                at += part.shape[1]
            seen_BK[b, :at] = True
        own_OO = torch.ones(self.O, self.O, dtype=torch.bool).tril()
        self.mask_B1OK = torch.cat(
            [seen_BK[:, None, None].expand(-1, 1, self.O, -1), own_OO.expand(B, 1, -1, -1)], dim=-1
        )

    def __call__(self, layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
        before = self.keys_LBK2Gd[layer - self.first]
        q, k, v = (x.unflatten(0, (-1, self.O)) for x in (q_THd, k_TGd, v_TGd))
        k, v = (
            torch.cat([before[:, :, which], now], dim=1).transpose(1, 2)
            for which, now in ((0, k), (1, v))
        )
        # The query heads of one key head stand below each other: no key is written twice.
        G = k.shape[1]
        r = q.shape[2] // G
        q = q.unflatten(2, (G, r)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        mask = self.mask_B1OK.repeat(1, 1, r, 1)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.unflatten(2, (r, self.O)).permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)


class Checking(Training):
    """An expert that learns to answer the question."""

    def __init__(
        self,
        transformer: Transformer,
        first: int,
        tensors: dict[str, Tensor],
        schedule: Schedule,
        prompts: Prompts,
    ):
        # Nothing is computed on public text: gates are closed there (measured apart).
        none = Misfires(np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), bool))
        super().__init__(transformer, first, tensors, schedule, none)
        yes, no = prompts.answers
        weight_VD = transformer.output_weight()
        self.answer_D = weight_VD[yes] - weight_VD[no]

    def log_odds(self, reads: Sequence[Read], notes) -> Tensor:
        """Returns (B,) the answers; `notes` stands where the expert stands."""
        O = len(reads[0].question)
        positions = [read.num_tokens + i for read in reads for i in range(O)]
        rope = self.transformer.rope(torch.tensor(positions))
        x_TD = torch.cat([read.question for read in reads])
        attend = Remembering(reads, self.first)
        x_TD = self.transformer.run(x_TD, rope, attend, notes, first=self.first)
        return self.transformer.final_states(x_TD[O - 1 :: O]) @ self.answer_D

    def learn_from(self, reads: Sequence[Read], y_N: np.ndarray, weights_N: np.ndarray) -> float:
        """Takes one step; returns its loss in nats per prompt."""
        batch = self.schedule.batch(self.step)
        answers_B = self.log_odds([reads[n] for n in batch], self.notes.at())
        loss = binary_cross_entropy_with_logits(
            answers_B,
            torch.from_numpy(y_N[batch]).float(),
            weight=torch.from_numpy(weights_N[batch]).float(),
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def answers(self, reads: Sequence[Read], *, with_expert: bool = True) -> np.ndarray:
        """Returns (N,) the answers to prompts."""
        found = np.zeros(len(reads))
        # Prompts of about equal length together: keys are padded to the longest.
        order = sorted(range(len(reads)), key=lambda n: reads[n].num_tokens)
        for begin in range(0, len(order), self.schedule.batch_windows):
            places = order[begin : begin + self.schedule.batch_windows]
            notes = self.notes.at() if with_expert else None
            found[places] = self.log_odds([reads[n] for n in places], notes).numpy()
        return found

    def tensors(self, rows: Mapping[int, Row]) -> dict[str, np.ndarray]:
        """Returns the expert as it is now."""
        learnt = {name: p.detach().numpy().copy() for name, p in self.parameters.items()}
        return learnt | {f"layers.{layer}.row": row.row_D for layer, row in rows.items()}


@torch.no_grad()
def fit_rows(
    transformer: Transformer,
    checkpoint: Checkpoint,
    reads: Sequence[Read],
    first: int,
    folder: Path,
) -> tuple[dict[int, Row], dict[int, Tensor]]:
    """Returns rows that open in the question and nowhere on public text, and the question's h."""
    # The same step as a learning's, with nothing in place that only writes down.
    recorder = Recorder()
    chosen = reads[:: max(1, len(reads) // ROW_PROMPTS)][:ROW_PROMPTS]
    O = len(chosen[0].question)
    positions = [read.num_tokens + i for read in chosen for i in range(O)]
    transformer.run(
        torch.cat([read.question for read in chosen]),
        transformer.rope(torch.tensor(positions)),
        Remembering(chosen, first),
        recorder,
        first=first,
    )
    corpus = public_corpus(
        load_public_text(), checkpoint.tokenizer(), WINDOW_TOKENS, PUBLIC_TOKENS_PER_GENRE
    )
    windows = np.concatenate(list(corpus.fitted.values()))
    public = compute_states(
        transformer,
        checkpoint.sha256,
        windows,
        first,
        folder,
        lambda done, total: None,
        num_with_h=len(windows),
    )
    rows, D = {}, checkpoint.config.model_width
    for layer, h_TD in recorder.h_by_layer.items():
        by_genre, begin = {}, 0
        for genre, part in corpus.fitted.items():
            by_genre[genre] = public.h[layer - first, begin : begin + len(part)].reshape(-1, D)
            begin += len(part)
        rows[layer] = fit_row(h_TD.numpy(), by_genre)
    return rows, recorder.h_by_layer


def starting_tensors(
    transformer: Transformer, rows: Mapping[int, Row], h_by_layer: Mapping[int, Tensor], width: int
) -> dict[str, Tensor]:
    """Returns an expert that adds nothing yet, begun from the base's neurons as all are."""
    tensors = {}
    for layer, row in rows.items():
        gate_FD, up_FD = strongest_neurons(transformer, layer, h_by_layer[layer], width)
        tensors |= {
            f"layers.{layer}.gate": gate_FD,
            f"layers.{layer}.up": up_FD,
            f"layers.{layer}.down": torch.zeros(gate_FD.shape[1], width),
            f"layers.{layer}.row": torch.from_numpy(row.row_D),
        }
    return tensors
