"""The base that `serve` opens, as its interface needs it."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from tramontane.cli.parts import Parts
from tramontane.engine.engine import Engine
from tramontane.writing.speak import ExpertInPlace


class ServedModel:
    def __init__(self, parts: Parts):
        """Opens the base, which takes a while; raises what stands in its way."""
        self.parts = parts
        self.tokenizer = parts.tokenizer
        runtime = parts.engine.runtime
        self.name = Path(parts.settings.base).name
        computes = json.dumps(runtime.description, sort_keys=True, default=str)
        told = f"{parts.checkpoint.sha256} {computes}".encode()
        self.fingerprint = f"tramontane-{hashlib.sha256(told).hexdigest()[:16]}"
        self.opened_at = int(time.time())

    @property
    def engine(self) -> Engine:
        return self.parts.engine

    def experts(self) -> Sequence[ExpertInPlace]:
        return self.parts.voices()
