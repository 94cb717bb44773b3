"""What can be done as a job: its name, its arguments, what does it, and in which lane it runs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tramontane.audit.kept import check_audit_name
from tramontane.audit.run import Plan
from tramontane.audit.suites.all import chosen
from tramontane.audit.swap import GENDER
from tramontane.checkpoint.pull import pull
from tramontane.cli.audits import estimate_of, result_of, run_kept
from tramontane.cli.experts import add_verified
from tramontane.cli.learn import learn_and_place
from tramontane.cli.notes import add_and_sync
from tramontane.cli.overlap import (
    as_told,
    keep_look_alikes,
    overlap_of,
    recognise,
    records_in_place,
)
from tramontane.cli.parts import Parts
from tramontane.cli.plan import plan_of
from tramontane.cli.remedies import RAISED_BY, learn_swapped, raise_threshold, raised_told
from tramontane.cli.start import check_base
from tramontane.errors import AuditError, RequestError
from tramontane.experts.overlap import ADVICE

Report = Callable[[str, int, int], None]
# What computes runs one at a time; what waits for the network runs beside it.
CORES, NETWORK = "cores", "network"
LANES = (CORES, NETWORK)


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PullArguments(Arguments):
    what: str = Field(min_length=1, max_length=4_096)


class SyncArguments(Arguments):
    """`folder` adds the collection; without it a known one is read anew."""

    name: str = Field(min_length=1, max_length=200)
    folder: Path | None = None
    owner: str = Field("", max_length=200)
    licence: str = Field("", max_length=200)


class LearnArguments(Arguments):
    """`folder` may be left out for a collection that is known."""

    name: str = Field(min_length=1, max_length=200)
    folder: Path | None = None
    owner: str = Field("", max_length=200)
    licence: str = Field("", max_length=200)
    max_tokens: int = Field(100_000, ge=1_000)
    apart: bool = False


class PlanArguments(Arguments):
    """Of a learning; `folder` may be left out for a collection that is known."""

    name: str = Field("", max_length=200)
    folder: Path | None = None
    max_tokens: int = Field(100_000, ge=1_000)


class CheckArguments(Arguments):
    """`base` is the one in use if left out."""

    base: str | None = Field(None, max_length=4_096)


class OverlapArguments(Arguments):
    pass


class AddArguments(Arguments):
    file: Path
    replace: bool = False


class AuditArguments(Arguments):
    """Of the mixture in use; `experts` leaves all others closed, `data` holds published suites."""

    name: str
    scale: Literal["quick", "default", "full"] = "default"
    suites: tuple[str, ...] = Field((), max_length=100)
    experts: tuple[str, ...] | None = Field(None, max_length=1_000)
    n: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0, lt=1 << 32)
    attribution: Literal["shapley", "leave-one-out", "none"] = "shapley"
    data: tuple[Path, ...] = Field((), max_length=100)

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return as_fault(lambda: check_audit_name(name))

    @field_validator("suites")
    @classmethod
    def _are_there(cls, suites: tuple[str, ...]) -> tuple[str, ...]:
        as_fault(lambda: chosen(list(suites)))
        return suites

    @property
    def plan(self) -> Plan:
        return Plan(
            suites=tuple(chosen(list(self.suites))),
            scale=self.scale,
            n=self.n,
            seed=self.seed,
            attribution=self.attribution,
        )


class RelearnArguments(Arguments):
    """Of an expert whose collection is in the library; `as_name` is NAME-swapped if left out."""

    name: str = Field(min_length=1, max_length=200)
    as_name: str = Field("", max_length=200)
    max_tokens: int = Field(100_000, ge=1_000)


class RaiseArguments(Arguments):
    """Of an expert whose collection is in the library; `as_name` is NAME-raised if left out."""

    name: str = Field(min_length=1, max_length=200)
    by: float = Field(RAISED_BY, gt=0, le=100)
    as_name: str = Field("", max_length=200)


def as_fault(check: Callable[[], Any]) -> Any:
    """Returns what `check` does; its AuditError becomes what the model of arguments reports."""
    try:
        return check()
    except AuditError as error:
        raise ValueError(str(error)) from None


def do_pull(parts: Parts, asked: PullArguments, report: Report) -> dict[str, Any]:
    record = pull(asked.what, parts.store, report)
    return {"name": record.name, "sha256": record.sha256}


def do_sync(parts: Parts, asked: SyncArguments, report: Report) -> dict[str, Any]:
    if asked.folder is None:
        done = parts.library.sync(asked.name, report)
    else:
        done = add_and_sync(
            parts, asked.name, asked.folder, report, owner=asked.owner, licence=asked.licence
        )
    return {
        "added": len(done.added),
        "changed": len(done.changed),
        "removed": len(done.removed),
        "unchanged": len(done.unchanged),
        "skipped": len(done.skipped),
    }


def do_learn(parts: Parts, asked: LearnArguments, report: Report) -> dict[str, Any]:
    folder = asked.folder or parts.library.collection(asked.name).folder
    record = learn_and_place(
        parts,
        asked.name,
        folder,
        report,
        owner=asked.owner,
        licence=asked.licence,
        max_tokens=asked.max_tokens,
        apart=asked.apart,
    )
    held_out = record.manifest["held_out"]
    return {
        "expert": record.name,
        "hash": record.hash,
        "perplexity_before": held_out["perplexity_before"],
        "perplexity_after": held_out["perplexity_after"],
        "contested_with": [] if asked.apart else recognise(parts, record, is_quiet=True),
    }


def do_plan(parts: Parts, asked: PlanArguments, report: Report) -> dict[str, Any]:
    folder = asked.folder or parts.library.collection(asked.name).folder
    return asdict(plan_of(parts, folder, asked.max_tokens, report))


def do_check(parts: Parts, asked: CheckArguments, report: Report) -> dict[str, Any]:
    if asked.base is not None:
        parts = Parts(parts.settings.model_copy(update={"base": asked.base}))
    result = check_base(parts, report)
    return asdict(result) | {"base": parts.checkpoint.name, "passed": result.passed}


def do_overlap(parts: Parts, _asked: OverlapArguments, report: Report) -> dict[str, Any]:
    records = records_in_place(parts)
    if not records:
        return {"experts": {}, "pairs": []}
    overlap = overlap_of(parts, records, report)
    keep_look_alikes(parts, records, overlap)
    told = as_told(overlap)
    return told | {"pairs": [pair | {"says": ADVICE[pair["advice"]]} for pair in told["pairs"]]}


def do_add(parts: Parts, asked: AddArguments, report: Report) -> dict[str, Any]:
    report("checking the file", 0, 1)
    verified, record = add_verified(parts, asked.file, replace=asked.replace, is_quiet=True)
    return {
        "expert": record.name,
        "hash": record.hash,
        "remarks": list(verified.remarks),
        "contested_with": recognise(parts, record, is_quiet=True),
    }


def do_audit(parts: Parts, asked: AuditArguments, report: Report) -> dict[str, Any]:
    done = run_kept(parts, asked.name, asked.plan, report, experts=asked.experts, data=asked.data)
    return result_of(done, asked.name)


def do_audit_plan(parts: Parts, asked: AuditArguments, report: Report) -> dict[str, Any]:
    found = estimate_of(parts, asked.plan, report, experts=asked.experts, data=asked.data)
    return asdict(found) | {"n": found.n}


def do_relearn(parts: Parts, asked: RelearnArguments, report: Report) -> dict[str, Any]:
    as_name = asked.as_name or f"{asked.name}-swapped"
    record = learn_swapped(parts, asked.name, as_name, GENDER, asked.max_tokens, report)
    return {"expert": record.name, "hash": record.hash}


def do_raise(parts: Parts, asked: RaiseArguments, report: Report) -> dict[str, Any]:
    as_name = asked.as_name or f"{asked.name}-raised"
    record = raise_threshold(parts, asked.name, asked.by, as_name, report)
    return {"expert": record.name, "hash": record.hash, "says": raised_told(record.manifest)}


@dataclass(frozen=True, slots=True)
class JobKind:
    arguments: type[Arguments]
    do: Callable[[Parts, Any, Report], dict[str, Any]]
    lane: str

    def read(self, arguments: Mapping[str, Any]) -> Any:
        """Returns the arguments checked; RequestError names each that is wrong or unknown."""
        try:
            return self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_input=False, include_url=False)
            )
            raise RequestError(
                f"{faults}; arguments: {', '.join(self.arguments.model_fields)}"
            ) from None


KINDS = {
    "pull": JobKind(PullArguments, do_pull, NETWORK),
    "sync": JobKind(SyncArguments, do_sync, CORES),
    "learn": JobKind(LearnArguments, do_learn, CORES),
    "plan": JobKind(PlanArguments, do_plan, CORES),
    "check": JobKind(CheckArguments, do_check, CORES),
    "overlap": JobKind(OverlapArguments, do_overlap, CORES),
    "add": JobKind(AddArguments, do_add, CORES),
    "relearn": JobKind(RelearnArguments, do_relearn, CORES),
    "raise": JobKind(RaiseArguments, do_raise, CORES),
    "audit": JobKind(AuditArguments, do_audit, CORES),
    "audit-plan": JobKind(AuditArguments, do_audit_plan, CORES),
}


def kind_of(name: str) -> JobKind:
    if name not in KINDS:
        raise RequestError(f"there is no job {name!r}; there are {', '.join(KINDS)}")
    return KINDS[name]
