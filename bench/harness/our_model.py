"""Our engine in this process behind lm-evaluation-harness's interface."""

from lm_eval.api.model import TemplateLM

from tramontane.audit.scoring import first_token
from tramontane.cli.parts import Parts
from tramontane.settings import load_settings

AT_ONCE = 64


class OurModel(TemplateLM):
    """The harness's interface on our engine: it encodes and judges, we give log-likelihoods."""

    def __init__(self, parts: Parts):
        super().__init__()
        self.engine, self.ours = parts.new_engine(), parts.tokenizer

    @classmethod
    def of(cls, base: str, threads: int | None) -> "OurModel":
        return cls(Parts(load_settings(base=base, threads=threads)))

    @property
    def eot_token_id(self) -> int:
        return first_token(self.ours)

    def tok_encode(self, string, add_special_tokens=None, **others):
        return self.ours.encode(string)

    def _loglikelihood_tokens(self, requests, **others):
        results = []
        for begin in range(0, len(requests), AT_ONCE):
            encoded = [(c + k, len(c)) for _, c, k in requests[begin : begin + AT_ONCE]]
            for (ids, start), told in zip(encoded, self.engine.foretell_many(encoded), strict=True):
                is_greedy = bool((told.likeliest_T == ids[start:]).all())
                results.append((float(told.logprobs_T.astype("f8").sum()), is_greedy))
        return results

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError("no task here reads whole documents")

    def generate_until(self, requests, disable_tqdm=False):
        raise NotImplementedError("no task here generates")
