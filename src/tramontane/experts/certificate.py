"""Proof of a withdrawal: the model has the same bits as one that never had the expert."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tramontane.engine.engine import Engine
from tramontane.errors import ExpertError
from tramontane.experts.expert_file import Expert, tensor_hash
from tramontane.experts.public_text import load_public_text
from tramontane.experts.shelf import Withdrawal
from tramontane.tokenizer.tokenizer import Tokenizer

PROBE_TOKENS_PER_GENRE = 32


@dataclass(frozen=True)
class Certificate:
    """Hashes before, after, and of a model built anew without the expert."""

    expert: str
    expert_hash: str
    base_sha256: str
    mixture: str
    mixture_hash_before: str
    mixture_hash_after: str
    experts_left: tuple[str, ...]
    probe_tokens: int
    logits_with_expert: str
    logits_after: str
    logits_never_built: str
    # SHA-256 by what it is of: the base, and each expert left. As the mixture names them, and as
    # the bytes on this machine give them now.
    tensors_named: dict[str, str]
    tensors_found: dict[str, str]
    made_with: dict[str, Any]

    @property
    def is_exact(self) -> bool:
        return self.has_same_logits and self.tensors_found == self.tensors_named

    @property
    def has_same_logits(self) -> bool:
        return self.logits_after == self.logits_never_built

    @property
    def expert_was_heard(self) -> bool:
        """Whether the probe would have shown a difference at all."""
        return self.logits_with_expert != self.logits_never_built

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "is_exact": self.is_exact,
            "expert_was_heard": self.expert_was_heard,
        }


def probe_token_ids(tokenizer: Tokenizer, extra_texts: Sequence[str] = ()) -> list[int]:
    """Returns the fixed probe: the beginnings of each public genre, then any texts given."""
    firsts: dict[str, str] = {}
    for document in load_public_text():
        firsts.setdefault(document.genre, document.text)
    ids = [
        token
        for genre in sorted(firsts)
        for token in tokenizer.encode(firsts[genre])[:PROBE_TOKENS_PER_GENRE]
    ]
    return ids + [token for text in extra_texts for token in tokenizer.encode(text)]


def certify(
    withdrawal: Withdrawal,
    mixture_name: str,
    withdrawn: Expert,
    left: Sequence[Expert],
    engine: Engine,
    build_engine: Callable[[], Engine],
    tokenizer: Tokenizer,
    *,
    extra_texts: Sequence[str] = (),
    base_files_hash: Callable[[], str] | None = None,
    made_with: dict[str, Any] | None = None,
) -> Certificate:
    """Returns the certificate of a withdrawal from the mixture named.

    `engine` has had the expert; `build_engine` makes one that never did. With `extra_texts` from
    the collection itself the probe is sure to be one on which the expert spoke. `base_files_hash`
    computes the base's hash from its files anew; without it the base isn't among the hashes.
    """
    befores = {mixture.name: mixture for mixture in withdrawal.before}
    if mixture_name not in befores:
        raise ExpertError(
            f"{withdrawn.name} was not in mixture {mixture_name!r}, so nothing there has changed; "
            f"it was in: {', '.join(befores) or 'none'}"
        )
    before = befores[mixture_name]
    (after,) = (mixture for mixture in withdrawal.after if mixture.name == mixture_name)
    probe = probe_token_ids(tokenizer, extra_texts)
    for expert in (withdrawn, *left):
        if expert.hash not in engine.runtime.expert_hashes:
            engine.add_expert(expert.hash, expert.tensors)
    with_expert = engine.logits_hash(probe, experts=before.experts)
    engine.remove_expert(withdrawn.hash)
    anew = build_engine()
    for expert in left:
        anew.add_expert(expert.hash, expert.tensors)
    named_base = {"base": before.base_sha256} if base_files_hash else {}
    found_base = {"base": base_files_hash()} if base_files_hash else {}
    return Certificate(
        expert=withdrawn.name,
        expert_hash=withdrawn.hash,
        base_sha256=before.base_sha256,
        mixture=mixture_name,
        mixture_hash_before=before.hash,
        mixture_hash_after=after.hash,
        experts_left=after.experts,
        probe_tokens=len(probe),
        logits_with_expert=with_expert,
        logits_after=engine.logits_hash(probe, experts=after.experts),
        logits_never_built=anew.logits_hash(probe, experts=after.experts),
        tensors_named=named_base | {digest: digest for digest in after.experts},
        tensors_found=found_base | dict(zip(after.experts, hashes_of(left), strict=True)),
        made_with=made_with or {},
    )


def hashes_of(experts: Sequence[Expert]) -> list[str]:
    """Returns the hashes that the experts' tensors have now, in the order of mixtures."""
    return sorted(tensor_hash(expert.tensors) for expert in experts)
