"""experts overlap: whose gates open on whose notes; look-alikes told when an expert joins."""

from collections.abc import Iterable
from typing import Any

import typer

from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.experts.look_alikes import (
    forget_look_alikes,
    read_look_alikes,
    write_look_alikes,
)
from tramontane.experts.overlap import ADVICE, Overlap, measure_overlap
from tramontane.experts.shelf import ExpertRecord


def overlap_command(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how far each expert in place opens on each collection, and what to do about pairs.

    The figures are mean gates, in percent, with no other expert in place.

    Example: tramontane experts overlap
    """
    with opened(context.obj) as parts:
        records = records_in_place(parts)
        if not records:
            say_json({"experts": [], "pairs": []}) if as_json else say("No expert is in place.")
            return
        with Reporter("overlap", is_quiet=as_json) as report:
            overlap = overlap_of(parts, records, report)
        keep_look_alikes(parts, records, overlap)
    told = as_told(overlap)
    if as_json:
        say_json(told)
        return
    say_table(
        ("expert", *overlap.texts),
        [
            (name, *(f"{openness:.1%}" for openness in row_C))
            for name, row_C in zip(overlap.experts, overlap.openness_EC, strict=True)
        ],
    )
    for record in records:
        if record.name not in overlap.texts:
            say(f"{record.name} came without its notes; {public_text_of(record)}.")
    for pair in told["pairs"]:
        say(f"{' and '.join(pair['experts'])}: {ADVICE[pair['advice']]}.")


def as_told(overlap: Overlap) -> dict[str, Any]:
    """Returns each expert's mean gate on each collection, and what to do about each pair."""
    return {
        "experts": {
            name: dict(zip(overlap.texts, row_C.tolist(), strict=True))
            for name, row_C in zip(overlap.experts, overlap.openness_EC, strict=True)
        },
        "pairs": [
            {"experts": [one, other], "advice": overlap.advice(one, other)}
            for place, one in enumerate(overlap.experts)
            for other in overlap.experts[place + 1 :]
        ],
    }


def public_text_of(record: ExpertRecord) -> str:
    """Returns where on public text a manifest says the gates open most."""
    by_genre = record.manifest.get("gates", {}).get("public")
    if not by_genre:
        return "its manifest doesn't say where its gates open"
    genre, rate = max(by_genre.items(), key=lambda item: item[1])
    return f"on public text its gates open most on {genre.replace('_', ' ')}, {rate:.1%}"


def own_open(record: ExpertRecord) -> float:
    """Returns how often a manifest says the gates open on own notes held out; 0 if it doesn't."""
    return float(record.manifest.get("gates", {}).get("own_held_out", 0.0))


def records_in_place(parts: Parts) -> list[ExpertRecord]:
    in_place = set(parts.mixture().experts)
    return [r for r in parts.shelf.ls() if not r.is_withdrawn and r.hash in in_place]


def overlap_of(
    parts: Parts, records: Iterable[ExpertRecord], report: Reporter, around: str | None = None
) -> Overlap:
    """Returns the overlap of experts in place with the collections of this library."""
    by_name = {record.name: record for record in records}
    names = [collection.name for collection in parts.library.collections()]
    texts = {
        name: notes
        for name in names
        if (around is None or name in by_name)
        and (notes := [note.text for note in parts.library.notes(name)])
    }
    return measure_overlap(
        parts.engine,
        parts.tokenizer,
        {name: record.hash for name, record in by_name.items()},
        texts,
        report,
        own_open={name: own_open(record) for name, record in by_name.items()},
        around=around,
    )


def keep_look_alikes(parts: Parts, records: Iterable[ExpertRecord], overlap: Overlap) -> None:
    """Writes down the pairs found among these experts, in the place of those known of them."""
    hashes = {record.name: record.hash for record in records}
    folder = parts.shelf.mixtures_folder
    others = {pair for pair in read_look_alikes(folder) if not pair <= set(hashes.values())}
    found = {frozenset(hashes[name] for name in pair) for pair in overlap.look_alikes()}
    write_look_alikes(folder, others | found)


def recognise(parts: Parts, record: ExpertRecord, *, is_quiet: bool = False) -> list[str]:
    """Finds an expert's look-alikes among those it joins, writes them down, returns their names."""
    records = records_in_place(parts)
    here = {collection.name for collection in parts.library.collections()}
    if len(records) < 2 or not here & {other.name for other in records}:
        return []
    with Reporter(f"{record.name} beside the others", is_quiet=is_quiet) as report:
        overlap = overlap_of(parts, records, report, around=record.name)
    pairs = [pair for pair in overlap.look_alikes() if record.name in pair]
    hashes = {other.name: other.hash for other in records}
    folder = parts.shelf.mixtures_folder
    forget_look_alikes(folder, record.hash)
    found = {frozenset(hashes[name] for name in pair) for pair in pairs}
    write_look_alikes(folder, read_look_alikes(folder) | found)
    return sorted(name for pair in pairs for name in pair if name != record.name)


def say_contested(record: ExpertRecord, names: Iterable[str]) -> None:
    """Says whom an expert that has just joined can't be told from."""
    for name in names:
        say(
            f"Contested with {name}: {record.name} and {name} open on each other's notes, so where "
            "both speak both are named. `tramontane experts overlap` advises."
        )
