"""What an expert's manifest must say before the expert may come from, or go to, somebody else."""

import re
from typing import Any

from tramontane.errors import ExpertError
from tramontane.experts.contested import NAMED_ABOVE
from tramontane.experts.expert_file import Expert
from tramontane.experts.note_text import RUN_WORDS, WORD, strings_in

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_TEXT_CHARACTERS = 200
# A manifest holds names, numbers and hashes; beyond these words it could carry a note.
MOST_WORDS_IN_A_LIST = 2 * RUN_WORDS
MAX_GENRES = 256
MAX_NOTES = 200_000


def check_manifest(expert: Expert, where: str) -> None:
    """Raises ExpertError, naming the fault, unless the manifest says all it must and no more."""
    manifest = expert.manifest
    check_whose(manifest, where)
    check_layers(expert, where)
    check_notes(manifest.get("notes"), where)
    check_held_out(manifest.get("held_out"), where)
    check_gates(manifest.get("gates"), where)
    if not is_sha256(manifest.get("public_text_sha256")):
        raise ExpertError(f"{where}: public_text_sha256 is no SHA-256")
    if not is_sha256(manifest["base"]["sha256"]):
        raise ExpertError(f"{where}: the base's sha256 is no SHA-256")
    check_carries_no_text(manifest, where)


def check_whose(manifest: Any, where: str) -> None:
    for field in ("owner", "licence"):
        value = manifest.get(field)
        if not isinstance(value, str) or not value.strip():
            raise ExpertError(
                f"{where}: says no {field}; ask who made it, to say it with `experts pack`"
            )


def check_layers(expert: Expert, where: str) -> None:
    said, width = expert.manifest.get("layers"), expert.manifest.get("width")
    if said != list(expert.layers):
        raise ExpertError(
            f"{where}: the manifest gives layers {str(said)[:80]}, the tensors are of "
            f"{list(expert.layers)}"
        )
    widths = {len(t) for name, t in expert.tensors.items() if name.endswith(".gate")}
    if widths != {width}:
        raise ExpertError(
            f"{where}: the manifest gives width {str(width)[:80]}, the tensors have {widths}"
        )


def check_notes(notes: Any, where: str) -> None:
    hashes = notes.get("salted_sha256") if isinstance(notes, dict) else None
    if not isinstance(hashes, list) or not 0 < len(hashes) <= MAX_NOTES:
        raise ExpertError(f"{where}: has no list of hashes of notes")
    if not all(map(is_sha256, hashes)) or hashes != sorted(set(hashes)):
        raise ExpertError(f"{where}: the notes' hashes are not sorted SHA-256, each once")
    if notes.get("number") != len(hashes):
        raise ExpertError(
            f"{where}: says {str(notes.get('number'))[:40]} notes and lists {len(hashes)} hashes"
        )
    if not is_number(notes.get("tokens"), least=1):
        raise ExpertError(f"{where}: the number of tokens learnt from is none")


def check_held_out(held_out: Any, where: str) -> None:
    fields = ("perplexity_before", "perplexity_after", "notes", "tokens")
    if not isinstance(held_out, dict) or not all(
        is_number(held_out.get(field), least=1) for field in fields
    ):
        raise ExpertError(f"{where}: lacks results on notes held out ({', '.join(fields)})")


def check_gates(gates: Any, where: str) -> None:
    public = gates.get("public") if isinstance(gates, dict) else None
    if not isinstance(public, dict) or not 0 < len(public) <= MAX_GENRES:
        raise ExpertError(f"{where}: lacks the table of gate rates on public text")
    for genre, rate in (*public.items(), ("own_held_out", gates.get("own_held_out"))):
        if not is_number(rate, least=0, most=1):
            raise ExpertError(f"{where}: the gate rate of {genre[:40]!r} is no number from 0 to 1")
    # Older experts don't say it.
    if not is_number(gates.get("named_above", NAMED_ABOVE), least=0, most=1):
        raise ExpertError(f"{where}: the mean gate it is named above is no number from 0 to 1")


def check_carries_no_text(manifest: Any, where: str) -> None:
    """Raises ExpertError where a manifest holds a sentence, in one string or in pieces."""
    for text in strings_in(manifest):
        if len(WORD.findall(text)) >= RUN_WORDS or len(text) > MAX_TEXT_CHARACTERS:
            raise ExpertError(f"{where}: the manifest holds text ({text[:60]!r}); it may hold none")
    for name, value in lists_in(manifest):
        words = [text for text in strings_in(value) if not SHA256.fullmatch(text)]
        if len(words) > MOST_WORDS_IN_A_LIST:
            raise ExpertError(f"{where}: the manifest holds a list of {len(words)} texts in {name}")


def lists_in(value: Any, name: str = "") -> list[tuple[str, list]]:
    if isinstance(value, list):
        return [(name, value)]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in lists_in(item, str(key))]
    return []


def is_sha256(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def is_number(value: Any, *, least: float, most: float = float("inf")) -> bool:
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and least <= value <= most
