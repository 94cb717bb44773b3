"""One file from the hub into the shared cache, resumed after a cut and checked against its hash.

huggingface_hub 2 gives every attempt a new temporary file, so a kill or a long cut would cost all
of a file of many gigabytes; and it doesn't compare hashes. So the bytes are fetched here: into a
partial file named after the hash, in ranges, renamed to the cache's blob of that hash once it is
proved. huggingface_hub then links it into the snapshot and fetches nothing. The plain HTTP way is
taken for Xet repositories too: their own protocol keeps no partial file either.
"""

import errno
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tramontane.errors import (
    DiskFull,
    HashMismatch,
    ModelGated,
    ModelNotFound,
    PullError,
    TramontaneError,
)
from tramontane.files import held_alone, sha256_of

# The hub's servers refuse to send more than 50 GB at once; a piece is also what a broken server
# can waste.
PIECE_BYTES = 4 << 30
# A cut costs at most the chunk that was under way.
CHUNK_BYTES = 64 << 10
ATTEMPTS = 6
TIMEOUT_SECONDS = 30.0
FIRST_WAIT_SECONDS = 1.0
TRANSIENT = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository's revision; large ones have a SHA-256, small ones git's SHA-1."""

    repo_id: str
    revision: str
    name: str
    num_bytes: int
    sha256: str | None
    git_sha1: str | None
    endpoint: str | None

    @property
    def etag(self) -> str:
        """The name of its blob in the cache."""
        return self.sha256 or self.git_sha1 or ""

    def prove(self, path: Path) -> None:
        """Raises HashMismatch when the bytes are not the published ones."""
        if self.sha256:
            got, wanted = sha256_of(path), self.sha256
        else:
            digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
            digest.update(path.read_bytes())
            got, wanted = digest.hexdigest(), self.git_sha1
        if got != wanted:
            raise HashMismatch(
                f"{self.repo_id}: {self.name} came with the hash {got}, the hub announces "
                f"{wanted}; the file was deleted. Pull it again; if it "
                f"happens again, don't trust the source"
            )


def fetch_blob(file: HubFile, blob: Path, report: Callable[[int], None]) -> None:
    """Brings the file to `blob`, whole and proved; what came before a cut is kept and continued.

    `report` gets the bytes that are there. Raises HashMismatch, DiskFull, Busy or PullError.
    """
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(f"{blob.name}.tramontane.incomplete")
    with held_alone(partial.with_suffix(".lock"), f"the download of {file.name}"):
        if blob.exists():
            return
        if partial.exists() and partial.stat().st_size > file.num_bytes:
            partial.unlink()
        try:
            with partial.open("ab") as opened:
                continue_download(file, opened, report)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                partial.unlink(missing_ok=True)
                raise DiskFull(
                    f"{blob.parent}: the disk is full; what came of {file.name} was deleted. Free "
                    f"{gigabytes(file.num_bytes)} and pull it again, or point HF_HOME elsewhere"
                ) from error
            raise
        try:
            file.prove(partial)
        except HashMismatch:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(blob)
    partial.with_suffix(".lock").unlink(missing_ok=True)


def continue_download(file: HubFile, opened: BinaryIO, report: Callable[[int], None]) -> None:
    """Appends to `opened` until the file is whole, over as many cuts as bring something new."""
    failures, wait_seconds = 0, FIRST_WAIT_SECONDS
    while (done := opened.tell()) < file.num_bytes:
        report(done)
        fault = fetch_piece(file, opened, done, report)
        if fault is None:
            continue
        if opened.tell() > done:
            failures, wait_seconds = 0, FIRST_WAIT_SECONDS
        failures += 1
        if failures == ATTEMPTS:
            raise PullError(
                f"{file.repo_id}: {file.name} broke off at {gigabytes(opened.tell())} of "
                f"{gigabytes(file.num_bytes)} ({fault}); what came is kept, pull again to go on"
            )
        time.sleep(wait_seconds)
        wait_seconds *= 2
    report(opened.tell())


def fetch_piece(
    file: HubFile, opened: BinaryIO, done: int, report: Callable[[int], None]
) -> str | None:
    """Appends the next piece; returns None, or what cut it short."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import HTTPError  # httpx's or httpx2's, whichever is in use
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    # Asked anew for each piece: the hub answers with a signed address that ages. The session
    # drops the token when it follows that to another host.
    url = hf_hub_url(file.repo_id, file.name, revision=file.revision, endpoint=file.endpoint)
    last = min(done + PIECE_BYTES, file.num_bytes) - 1
    headers = build_hf_headers() | {"Range": f"bytes={done}-{last}", "Accept-Encoding": "identity"}
    try:
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as response:
            if response.status_code in TRANSIENT:
                return f"the server answered {response.status_code}"
            if response.status_code >= 400:
                response.read()
                hf_raise_for_status(response)
            if response.status_code != 206 or starts_at(response.headers) != done:
                # The server knows no ranges and sends all of it.
                opened.seek(0)
                opened.truncate()
            for chunk in response.iter_bytes(CHUNK_BYTES):
                opened.write(chunk)
                if opened.tell() > file.num_bytes:
                    opened.seek(0)
                    opened.truncate()
                    raise PullError(
                        f"{file.repo_id}: {file.name} is longer than the {file.num_bytes} bytes "
                        "that the hub announces; it was deleted"
                    )
                report(opened.tell())
    except HTTPError as error:
        if getattr(error, "response", None) is not None:
            raise  # an answer, not a cut
        return type(error).__name__
    return None if opened.tell() > done else "nothing came"


def starts_at(headers) -> int | None:
    """Returns the first byte's place of a `Content-Range: bytes 5-9/10`."""
    unit, _, span = headers.get("content-range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


@contextmanager
def hub_errors(repo_id: str, endpoint: str | None) -> Iterator[None]:
    """Turns huggingface_hub's errors into ours. No header is quoted, so no token can leak."""
    from huggingface_hub import constants, errors

    page = f"{endpoint or constants.ENDPOINT}/{repo_id}"
    try:
        yield
    except TramontaneError:
        raise
    except errors.GatedRepoError as error:
        raise gated(repo_id, page) from error
    except errors.HFValidationError as error:
        raise ModelNotFound(f"{repo_id!r} is no hub name; owner/name was expected") from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFound(f"{repo_id}: the hub has no such revision ({page})") from error
    except errors.LocalEntryNotFoundError as error:
        raise PullError(f"{repo_id}: {page} stopped answering; pull again to go on") from error
    except errors.EntryNotFoundError as error:
        raise ModelNotFound(f"{repo_id}: a file vanished from {page}; pull it again") from error
    except errors.OfflineModeIsEnabled as error:
        raise PullError("HF_HUB_OFFLINE is set; unset it to pull from the hub") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        is_missing = status == 404 or "RepoNotFound" in error.response.headers.get(
            "X-Error-Code", ""
        )
        if isinstance(error, errors.RepositoryNotFoundError) and is_missing:
            raise ModelNotFound(
                f"the hub has no {repo_id} ({page}); is it spelled as there? A private one "
                "needs HF_TOKEN, a token with the right to read it"
            ) from error
        if status in (401, 403):
            raise gated(repo_id, page) from error
        raise PullError(f"{repo_id}: the hub answered {status}; try again later") from error
    except errors.HTTPError as error:
        raise PullError(
            f"{repo_id}: {endpoint or constants.ENDPOINT} cannot be reached "
            f"({type(error).__name__}); is there a network? A model on disk needs none: "
            "`tramontane pull PATH`"
        ) from error


def gated(repo_id: str, page: str) -> ModelGated:
    return ModelGated(
        f"{repo_id} is gated or private: open {page} while logged in, accept its licence there, "
        "make a token with the right to read (Settings, Access Tokens), set HF_TOKEN to it, "
        "and pull again"
    )


def gigabytes(num_bytes: int) -> str:
    if num_bytes < 10**8:
        return f"{num_bytes / 1e6:.1f} MB"
    return f"{num_bytes / 1e9:.1f} GB"
