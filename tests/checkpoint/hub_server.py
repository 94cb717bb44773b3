"""A hub on this machine: an HTTP server that speaks the Hugging Face hub's API to its own client.

    GET /api/models/OWNER/NAME[/revision/REVISION]   what a repository has, with sizes and hashes
    HEAD, GET /OWNER/NAME/resolve/REVISION/FILE      a file; a large one is redirected to /cdn
    GET /cdn/SHA256                                  its bytes, or a range of them

It can be told to gate a repository, to cut connections, to serve other bytes than it announces, to
ignore ranges, and to answer with an error some times; it keeps a log of what was asked and sent.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = (".gguf", ".safetensors")
ERROR_HEADER, MESSAGE_HEADER = "X-Error-Code", "X-Error-Message"


def git_sha1(raw: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()


@dataclass
class Asked:
    """One request: what it was, the range and token that came with it, the bytes it got."""

    method: str
    path: str
    range: str | None
    has_token: bool
    num_bytes: int = 0


@dataclass
class Repository:
    files: dict[str, bytes]
    licence: str = "apache-2.0"
    commit: str = COMMIT
    is_gated: bool = False
    # Changes what the API says of the repository.
    retell: dict[str, object] = field(default_factory=dict)

    def listing(self, repo_id: str) -> dict[str, object]:
        siblings = []
        for name, raw in self.files.items():
            row: dict[str, object] = {"rfilename": name, "size": len(raw), "blobId": git_sha1(raw)}
            if name.endswith(LARGE):
                sha256 = hashlib.sha256(raw).hexdigest()
                row["lfs"] = {"sha256": sha256, "size": len(raw), "pointerSize": 134}
            siblings.append(row)
        return {
            "id": repo_id,
            "modelId": repo_id,
            "sha": self.commit,
            "private": False,
            "gated": "manual" if self.is_gated else False,
            "tags": [f"license:{self.licence}", "gguf"],
            "siblings": siblings,
        } | self.retell


class Hub:
    """The server's state, which a test may change at any time."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.asked: list[Asked] = []
        # By file name: after how many bytes the next connections break.
        self.cuts: dict[str, list[int]] = {}
        # By file name: the bytes that are sent in place of the announced ones.
        self.lies: dict[str, bytes] = {}
        # The next answers are these statuses.
        self.faults: list[int] = []
        self.knows_ranges = True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        # Another host, as far as a client can tell.
        self.cdn = f"http://localhost:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def sent(self, word: str = "/cdn/") -> list[Asked]:
        """Returns the requests for bytes whose path has the word in it."""
        return [one for one in self.asked if one.method == "GET" and word in one.path]


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization") is not None
            self.log = Asked(self.command, path, self.headers.get("Range"), token)
            hub.asked.append(self.log)
            if path.startswith("/cdn/"):
                if hub.faults:
                    return self.send(hub.faults.pop(0))
                name, raw = self.file_of(path.removeprefix("/cdn/"))
                return self.send_file(name, raw, {})
            match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?(/tree/.*)?", path)
            resolved = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            repo_id = match[1] if match else resolved[1] if resolved else ""
            repository = hub.repositories.get(repo_id)
            if repository is None:
                # The hub doesn't tell those without a token whether a repository exists.
                code = {ERROR_HEADER: "RepoNotFound", MESSAGE_HEADER: "Repository not found"}
                return self.send(404 if token else 401, code)
            if match:
                return self.send_json(repository.listing(repo_id))
            if repository.is_gated and not token:
                code = {ERROR_HEADER: "GatedRepo", MESSAGE_HEADER: "Access is restricted"}
                return self.send(401, code)
            if resolved[3] not in repository.files:
                return self.send(404, {ERROR_HEADER: "EntryNotFound"})
            if resolved[2] != repository.commit:
                return self.send(404, {ERROR_HEADER: "RevisionNotFound"})
            return self.resolve(repository, resolved[3])

        def resolve(self, repository: Repository, name: str) -> None:
            raw = repository.files[name]
            commit = {"X-Repo-Commit": repository.commit}
            if not name.endswith(LARGE):
                return self.send_file(name, raw, commit | {"ETag": f'"{git_sha1(raw)}"'})
            sha256 = hashlib.sha256(raw).hexdigest()
            linked = {"X-Linked-Size": str(len(raw)), "X-Linked-Etag": f'"{sha256}"'}
            return self.send(302, commit | linked | {"Location": f"{hub.cdn}/cdn/{sha256}"})

        def file_of(self, sha256: str) -> tuple[str, bytes]:
            for repository in hub.repositories.values():
                for name, raw in repository.files.items():
                    if hashlib.sha256(raw).hexdigest() == sha256:
                        return name, raw
            raise KeyError(sha256)

        def send_file(self, name: str, raw: bytes, headers: dict[str, str]) -> None:
            raw = hub.lies.get(name, raw)
            first, status = 0, 200
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if wanted and hub.knows_ranges:
                first, last = int(wanted[1]), min(int(wanted[2] or len(raw)), len(raw) - 1)
                if first >= len(raw):
                    return self.send(416)
                headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(raw)}"}
                raw, status = raw[first : last + 1], 206
            cut = hub.cuts[name].pop(0) if hub.cuts.get(name) else None
            self.send(status, headers, raw, cut)

        def send_json(self, value: object) -> None:
            self.send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

        def send(
            self,
            status: int,
            headers: dict[str, str] | None = None,
            raw: bytes = b"",
            cut: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if self.command == "GET":
                self.log.num_bytes = len(raw[:cut])
                self.wfile.write(raw[:cut])
            if cut is not None:
                self.close_connection = True

    return Handler
