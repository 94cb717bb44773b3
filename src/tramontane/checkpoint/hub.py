"""`hf:owner/name[:quantisation]`: a model from the Hugging Face hub, or what speaks its API.

The steps: ask what the repository has, choose the files, refuse early what couldn't be used,
check the room, fetch and prove each file, open the model, record it.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from tramontane.checkpoint.families import GGUF_ARCHITECTURES
from tramontane.checkpoint.hf_config import architecture_of, hf_config, read_json
from tramontane.checkpoint.hub_cache import cache_folder
from tramontane.checkpoint.hub_choice import Choice, choose
from tramontane.checkpoint.hub_download import HubFile, fetch_blob, gigabytes, hub_errors
from tramontane.checkpoint.store import Record, Store
from tramontane.errors import (
    CheckpointError,
    DiskFull,
    HashMismatch,
    ModelNotFound,
    PullError,
)

WHAT = re.compile(r"hf:(?P<repo_id>[^:/\s]+/[^:/\s]+)(:(?P<quantisation>[^:\s]+))?")
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
ROOM_TO_LEAVE_BYTES = 256 << 20

Report = Callable[[str, int, int], None]


def pull_from_hub(what: str, store: Store, report: Report) -> Record:
    """Returns the record of the model, fetched as far as it isn't there yet."""
    match = WHAT.fullmatch(what)
    if not match:
        raise ModelNotFound(f"{what!r}: hf:owner/name or hf:owner/name:quantisation was expected")
    if recorded := whole_record(what, store):
        return recorded
    repo_id, quantisation = match["repo_id"], match["quantisation"]
    # Read when used, so that it counts even where huggingface_hub was imported before it was set.
    endpoint = os.environ.get("HF_ENDPOINT") or None
    with hub_errors(repo_id, endpoint):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint).model_info(repo_id, files_metadata=True)
        choice = choose(repo_id, (one.rfilename for one in info.siblings or ()), quantisation)
        refuse_unknown_architecture(repo_id, info, choice)
        if choice.others and not quantisation:
            report(f"taking {choice.label}; there are also {', '.join(choice.others)}", 0, 0)
        by_name = {one.rfilename: one for one in info.siblings}
        files = [hub_file(repo_id, info.sha, by_name[name], endpoint) for name in choice.file_names]
        paths = fetch_all(files, store, report)
    is_folder = choice.label == "safetensors"
    name = repo_id.split("/")[1]
    record = store.record_of(
        paths[0].parent if is_folder else paths[0],
        source=what,
        name=name if is_folder or choice.label in name else f"{name}-{choice.label}",
        licence=licence_of(info),
        fetched=frozenset(store.fetched.paths()),
    )
    check_recorded(record, files, paths)
    store.write(record)
    store.fetched.forget(paths)
    return record


def whole_record(source: str, store: Store) -> Record | None:
    """Returns the record of that source when all its files are there and unchanged."""
    for record in store.ls():
        if record.source == source:
            try:
                store.check(record)
            except HashMismatch:
                raise
            except CheckpointError:
                return None
            return record
    return None


def refuse_unknown_architecture(repo_id: str, info, choice: Choice) -> None:
    """Raises CheckpointError before gigabytes are fetched, where the hub's listing tells enough."""
    described = getattr(info, "gguf", None)
    word = described.get("architecture") if isinstance(described, dict) else None
    supported = [architecture.word for architecture in GGUF_ARCHITECTURES]
    if choice.label != "safetensors" and word and word not in supported:
        raise CheckpointError(
            f"{repo_id}: architecture {word!r} is not supported; supported in GGUF: "
            f"{', '.join(supported)}. Nothing was fetched"
        )


def hub_file(repo_id: str, revision: object, sibling, endpoint: str | None) -> HubFile:
    etag = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    # These become names of files here.
    parts = PurePosixPath(sibling.rfilename).parts
    if ".." in parts or parts[0] == "/" or "\\" in sibling.rfilename or "\0" in sibling.rfilename:
        raise PullError(f"{repo_id}: the hub lists {sibling.rfilename!r}, which is no file name")
    if not isinstance(etag, str) or not HASH.fullmatch(etag):
        raise PullError(f"{repo_id}: the hub lists {sibling.rfilename} without a hash")
    if type(sibling.size) is not int or sibling.size < 0:
        raise PullError(f"{repo_id}: the hub lists {sibling.rfilename} without a size")
    if not isinstance(revision, str) or not COMMIT.fullmatch(revision):
        raise PullError(f"{repo_id}: the hub names no commit; is HF_ENDPOINT a hub?")
    return HubFile(
        repo_id=repo_id,
        revision=revision,
        name=sibling.rfilename,
        num_bytes=sibling.size,
        sha256=sibling.lfs.sha256 if sibling.lfs else None,
        git_sha1=None if sibling.lfs else sibling.blob_id,
        endpoint=endpoint,
    )


def fetch_all(files: list[HubFile], store: Store, report: Report) -> list[Path]:
    """Returns each file's path in the cache; the store notes which of them are new there."""
    from huggingface_hub import hf_hub_download

    cache = cache_folder()
    check_room(files, cache)
    total = sum(file.num_bytes for file in files)
    paths, before = [], 0
    for file in files:

        def report_bytes(done: int, before: int = before, file: HubFile = file) -> None:
            report(f"pulling {file.repo_id}", before + done, total)

        if not snapshot_path(file, cache).exists():
            store.fetched.note(snapshot_path(file, cache))
            if not blob_path(file, cache).exists():
                fetch_blob(file, blob_path(file, cache), report_bytes)
        # Finds the blob, and links it as the cache's own rules want.
        path = Path(
            hf_hub_download(
                file.repo_id,
                file.name,
                revision=file.revision,
                cache_dir=cache,
                endpoint=file.endpoint,
            )
        )
        paths.append(path)
        before += file.num_bytes
        report_bytes(0, before)
        if file.name == "config.json":
            config = read_json(path)
            # Refuses an unknown architecture before the weights.
            hf_config(path, config, architecture_of(path, config))
    return paths


def repository_folder(file: HubFile, cache: Path) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return cache / repo_folder_name(repo_id=file.repo_id, repo_type="model")


def snapshot_path(file: HubFile, cache: Path) -> Path:
    return repository_folder(file, cache) / "snapshots" / file.revision / file.name


def blob_path(file: HubFile, cache: Path) -> Path:
    return repository_folder(file, cache) / "blobs" / file.etag


def check_room(files: Iterable[HubFile], cache: Path) -> None:
    """Raises DiskFull when what is still to come doesn't fit."""
    missing = 0
    for file in files:
        blob = blob_path(file, cache)
        partial = blob.with_name(f"{blob.name}.tramontane.incomplete")
        if not blob.exists() and not snapshot_path(file, cache).exists():
            missing += file.num_bytes - (partial.stat().st_size if partial.exists() else 0)
    place = next(parent for parent in (cache, *cache.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    if missing and missing + ROOM_TO_LEAVE_BYTES > free:
        raise DiskFull(
            f"{place}: {gigabytes(missing)} are to come and {gigabytes(free)} are free; "
            "free some room, choose a smaller quantisation, or point HF_HOME elsewhere"
        )


def check_recorded(record: Record, files: list[HubFile], paths: list[Path]) -> None:
    """Raises HashMismatch when a file that was in the cache before isn't the published one."""
    recorded = {file.path: file.sha256 for file in record.files}
    for file, path in zip(files, paths, strict=True):
        if file.sha256 and recorded.get(path, file.sha256) != file.sha256:
            raise HashMismatch(
                f"{path} has the hash {recorded[path]}, the hub announces {file.sha256}; "
                "delete it from the Hugging Face cache and pull again"
            )


def licence_of(info) -> str:
    """Returns what the model's page declares."""
    for tag in info.tags or ():
        if tag.startswith("license:"):
            return tag.removeprefix("license:")
    return ""
