"""The page's own files, read once; a request names one of them or none, so no path can climb."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

PAGE_FOLDER = Path(__file__).parent / "page"
# Written down because a machine's own table (mimetypes) may say otherwise, and nosniff is strict.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    content: bytes
    type: str
    etag: str


def read_page(folder: Path = PAGE_FOLDER) -> dict[str, PageFile]:
    """Returns the page's files by the path under which they are served."""
    files = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in TYPES:
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            name = "/" + file.relative_to(folder).as_posix()
            files[name] = PageFile(content, TYPES[file.suffix], etag)
    return files


def serve_file(file: PageFile, request: Request) -> Response:
    """Returns the file, or 304 when the browser has these very bytes."""
    headers = {"etag": file.etag, "cache-control": "no-cache"}
    tags = request.headers.get("if-none-match", "").split(",")
    known = [tag.strip().removeprefix("W/") for tag in tags]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.type, headers=headers)
