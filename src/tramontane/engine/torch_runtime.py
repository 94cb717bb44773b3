"""The PyTorch runtime: the definition behind the Runtime contract, keys and values in pages.

T tokens of the whole batch, H query heads, G key heads, d head width, S tokens a span can see.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.runtime import Span, SpanResult
from tramontane.errors import BackendUnavailable

try:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from tramontane.model.attention import visible
    from tramontane.model.notes_experts import NotesExperts, Voices
    from tramontane.model.transformer import load_transformer
except ImportError as error:
    raise BackendUnavailable(
        f"the PyTorch runtime needs torch, which is not installed here ({error}); install it with "
        '`pip install "tramontane[learn]"` (on Linux without a GPU, PyTorch\'s CPU build first)'
    ) from None


class TorchRuntime:
    page_tokens = 64
    ignores_company = False
    tells_routes = False

    def __init__(self, checkpoint: Checkpoint, *, threads: int | None = None):
        if threads:
            torch.set_num_threads(threads)
        self.config = checkpoint.config
        self.transformer = load_transformer(checkpoint)
        self.experts: dict[str, dict[str, torch.Tensor]] = {}
        self.notes: NotesExperts | None = None
        self.keys_LPGd = self.values_LPGd = torch.empty(0)

    @property
    def expert_hashes(self) -> tuple[str, ...]:
        return tuple(sorted(self.experts))

    @property
    def description(self) -> dict[str, Any]:
        return {
            "runtime": "pytorch",
            "torch": torch.__version__,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        }

    @property
    def page_bytes(self) -> int:
        return 2 * 4 * self.config.kv_width * self.page_tokens * self.config.num_layers

    def allocate(self, num_pages: int) -> None:
        config = self.config
        shape = (
            config.num_layers,
            num_pages * self.page_tokens,
            config.num_kv_heads,
            config.head_width,
        )
        # Untouched memory costs nothing until a page is used.
        self.keys_LPGd, self.values_LPGd = torch.empty(shape), torch.empty(shape)

    def add_expert(self, expert_hash: str, tensors: Mapping[str, np.ndarray]) -> None:
        self.experts[expert_hash] = {
            name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()
        }
        self.notes = NotesExperts(self.experts)

    def remove_expert(self, expert_hash: str) -> None:
        del self.experts[expert_hash]
        self.notes = NotesExperts(self.experts) if self.experts else None

    @torch.inference_mode()
    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        token_ids_T = torch.tensor([token for span in spans for token in span.token_ids])
        positions_T = torch.cat(
            [torch.arange(span.start, span.start + len(span.token_ids)) for span in spans]
        )
        wanted = any(span.experts for span in spans)
        voices = Voices() if with_shares and wanted else None
        notes = None
        if wanted and self.notes is not None:
            notes = self.notes.at(self.allowed(spans), voices)
        attend = PagedAttention(self, spans)
        x_TD = self.transformer.run(
            self.transformer.embed(token_ids_T), self.transformer.rope(positions_T), attend, notes
        )
        return self.results(spans, x_TD, voices, with_shares)

    def allowed(self, spans: Sequence[Span]) -> torch.Tensor | None:
        """Returns (T, E): which loaded experts each token's request has in place; None for all."""
        loaded = self.expert_hashes
        if all(span.experts == loaded for span in spans):
            return None
        rows = [[digest in span.experts for digest in loaded] for span in spans]
        counts = torch.tensor([len(span.token_ids) for span in spans])
        return torch.tensor(rows).repeat_interleave(counts, dim=0)

    def results(
        self, spans: Sequence[Span], x_TD: torch.Tensor, voices: Voices | None, with_shares: bool
    ) -> list[SpanResult]:
        ends = np.cumsum([len(span.token_ids) for span in spans]).tolist()
        rows = [
            torch.arange(end - span.num_logits, end) for span, end in zip(spans, ends, strict=True)
        ]
        logits_RV = self.transformer.logits(x_TD[torch.cat(rows)]).numpy()
        shares = gates = None
        if with_shares:
            nobody_T0 = x_TD.new_zeros(len(x_TD), 0)
            shares = voices.shares() if voices is not None else nobody_T0
            gates = voices.gates() if voices is not None else nobody_T0
        results, begin = [], 0
        for span, end in zip(spans, ends, strict=True):
            columns = [self.expert_hashes.index(digest) for digest in span.experts]
            tokens = slice(end - len(span.token_ids), end)
            results.append(
                SpanResult(
                    logits_RV[begin : begin + span.num_logits],
                    shares[tokens][:, columns].numpy() if shares is not None else None,
                    gates[tokens][:, columns].numpy() if gates is not None else None,
                )
            )
            begin += span.num_logits
        return results


class PagedAttention:
    """Writes the batch's keys and values to their pages, then lets each span see its own."""

    def __init__(self, runtime: TorchRuntime, spans: Sequence[Span]):
        self.keys_LPGd, self.values_LPGd = runtime.keys_LPGd, runtime.values_LPGd
        self.sliding_window = runtime.config.sliding_window
        self.slots = [self.slots_of(span, runtime.page_tokens) for span in spans]
        self.lengths = [len(span.token_ids) for span in spans]
        self.new_slots_T = torch.cat(
            [slots[-length:] for slots, length in zip(self.slots, self.lengths, strict=True)]
        )

    def slots_of(self, span: Span, page_tokens: int) -> torch.Tensor:
        """Returns where the keys of positions 0 to the span's last lie."""
        positions = torch.arange(span.start + len(span.token_ids))
        pages = torch.tensor(span.pages)
        return pages[positions // page_tokens] * page_tokens + positions % page_tokens

    def __call__(
        self, layer: int, q_THd: torch.Tensor, k_TGd: torch.Tensor, v_TGd: torch.Tensor
    ) -> torch.Tensor:
        keys_PGd, values_PGd = self.keys_LPGd[layer], self.values_LPGd[layer]
        keys_PGd[self.new_slots_T] = k_TGd
        values_PGd[self.new_slots_T] = v_TGd
        mixed = [
            attend_one(q_tHd, keys_PGd[slots_S], values_PGd[slots_S], self.sliding_window)
            for q_tHd, slots_S in zip(q_THd.split(self.lengths), self.slots, strict=True)
        ]
        return torch.cat(mixed)


def attend_one(
    q_tHd: torch.Tensor,
    k_SGd: torch.Tensor,
    v_SGd: torch.Tensor,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Returns (t, H, d): the span's last t positions over all S, none looking ahead."""
    t = len(q_tHd)
    if sliding_window is not None:
        # What lies before the first position's window is seen by none of them.
        k_SGd, v_SGd = (x_SGd[-(sliding_window + t - 1) :] for x_SGd in (k_SGd, v_SGd))
    mask_tS = visible(t, len(k_SGd), sliding_window) if t > 1 else None
    q_Htd, k_GSd, v_GSd = (x.transpose(0, 1)[None] for x in (q_tHd, k_SGd, v_SGd))
    mixed = scaled_dot_product_attention(q_Htd, k_GSd, v_GSd, attn_mask=mask_tS, enable_gqa=True)
    return mixed[0].transpose(0, 1)
