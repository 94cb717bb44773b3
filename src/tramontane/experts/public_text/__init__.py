"""The public text: the fixed text that stands for "everything else" (docs/public-text.md).

Router rows and thresholds are fitted on it and on nothing else, so its hash is in every expert.
`scripts/build_public_text.py` builds it.
"""

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tramontane.errors import ExpertError

# Of the uncompressed JSON lines.
PUBLIC_TEXT_SHA256 = "b6d6eb017264332db9e234f5266a2aea9690a0d471a4b7fcf3592286a8e15136"


@dataclass(frozen=True, slots=True)
class PublicDocument:
    genre: str
    source: str
    licence: str
    text: str


@cache
def load_public_text() -> tuple[PublicDocument, ...]:
    """Returns the documents in their order; ExpertError when they aren't the published ones."""
    try:
        packed = files(__name__).joinpath("public_text.jsonl.gz").read_bytes()
        data = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise ExpertError(
            f"the public text can't be read ({error}): this installation is damaged; install "
            "tramontane again"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != PUBLIC_TEXT_SHA256:
        raise ExpertError(
            f"the public text has sha256 {digest[:16]}, {PUBLIC_TEXT_SHA256[:16]} was wanted: "
            "this installation is damaged; install tramontane again"
        )
    return tuple(PublicDocument(**json.loads(line)) for line in data.decode().splitlines())
