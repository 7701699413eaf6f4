"""A model hub on 127.0.0.1: the requests that huggingface_hub and datasets send, answered from a folder, with faults
on purpose.

It knows the paths that huggingface_hub 2.4 asks for when a snapshot is fetched: what a repository is, the tree of its
files, the hashes of some of them, and the files themselves. It knows no accounts, no search, and no xet storage.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet", ".h5", ".msgpack")  # the hub keeps these apart from git, by their SHA-256
COMMIT = re.compile(r"[0-9a-f]{40}")
API = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
STATUS, SLOW, CUT, SHORT, CHANGED = "status", "slow", "cut", "short", "changed"
BLOCK = 1 << 20  # bytes


@dataclass
class Fault:
    """What goes wrong with the requests whose path has `path` in it, so many `times`; None: always.

    kind: "status" answers with `code`, "slow" after `seconds`. "cut" ends the connection in the middle of a file,
    "short" gives half of a file as if that were all, and "changed" gives a file with one byte changed.
    """

    kind: str
    path: str
    times: int | None = None
    code: int = 503
    seconds: float = 0.0

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts down where the fault ends after some times."""
        hit = self.path in path and self.times != 0 and (method == "GET" or self.kind in (STATUS, SLOW))
        if hit and self.times is not None:
            self.times -= 1
        return hit


@dataclass
class Repository:
    """A folder that the hub serves under a name, at one commit, which stands for `main`."""

    name: str
    folder: Path
    kind: str = "model"
    commit: str | None = None
    faults: Sequence[Fault] = ()
    entries: dict[str, dict] = field(init=False)

    def __post_init__(self):
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        self.entries = {path.relative_to(self.folder).as_posix(): self._entry(path) for path in paths}
        content = json.dumps([self.name, *(entry["oid"] for entry in self.entries.values())])
        self.commit = self.commit or hashlib.sha1(content.encode()).hexdigest()

    def _entry(self, path):
        content = path.read_bytes()
        found = {"type": "file", "path": path.relative_to(self.folder).as_posix(), "size": len(content)}
        if path.suffix not in LARGE:
            return found | {"oid": git_hash(content)}
        sha256 = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
        lfs = {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}
        return found | {"oid": git_hash(pointer), "lfs": lfs}

    def has(self, revision: str | None) -> bool:
        """Whether a revision is one of this repository's."""
        return revision in (None, "main", self.commit)

    def information(self) -> dict:
        """What `/api/models/…` says of it."""
        return {
            "_id": "0" * 24,
            "id": self.name,
            "sha": self.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "createdAt": "2024-01-01T00:00:00.000Z",
            "lastModified": "2024-01-01T00:00:00.000Z",
            "siblings": [{"rfilename": path} for path in self.entries],
        }


def git_hash(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class LocalHub:
    """Serves repositories inside `with`; `address` belongs into HF_ENDPOINT. `requests` has what was asked, in order:
    (method, path, status).
    """

    def __init__(self, repositories: Sequence[Repository]):
        self.repositories = {(repository.kind, repository.name): repository for repository in repositories}
        self.requests: list[tuple[str, str, int]] = []
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments, **options):
                self.hub = hub
                super().__init__(*arguments, **options)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Such as http://127.0.0.1:40123."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, name: str) -> list[tuple[str, str, int]]:
        """The requests about one repository."""
        return [request for request in self.requests if name in request[1]]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One request after the other of a connection."""

    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def log_message(self, *_):
        """Says nothing: `LocalHub.requests` has everything."""

    def do_GET(self):
        """Answers; HEAD and POST come here too."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path == "/":
            return self._answer(200, b"a hub", kind="text/plain")
        api, file = API.fullmatch(path), FILE.fullmatch(path)
        if not api and not file:
            return self._fail(404, "")
        kind = api[1] if api else "dataset" if file[1] else "model"
        name, revision = (api[2], api[4]) if api else (file[2], file[3])
        repository = self.hub.repositories.get((kind, name))
        if repository is None:
            return self._fail(404, "RepoNotFound")
        faults = {fault.kind: fault for fault in repository.faults if fault.strikes(self.command, path)}
        if SLOW in faults:
            time.sleep(faults[SLOW].seconds)
        if STATUS in faults:
            return self._fail(faults[STATUS].code, "")
        if not repository.has(revision):
            return self._fail(404, "RevisionNotFound")
        if file:
            return self._send_file(repository, file[4], faults)
        return self._send(self._described(repository, api[3], api[5] or "", parse_qs(address.query), body))

    do_HEAD = do_POST = do_GET

    def _described(self, repository, what, below, query, body):
        if what == "tree":
            found = [entry for path, entry in repository.entries.items() if path.startswith(below)]
            recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            return [entry for entry in found if recursive or "/" not in entry["path"][len(below) :].strip("/")]
        if what == "paths-info":
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
            return [repository.entries[path] for path in wanted if path in repository.entries]
        return repository.information()

    def _send(self, value):
        self._answer(200, json.dumps(value).encode())

    def _fail(self, code, name):
        extra = {"X-Error-Code": name, "X-Error-Message": f"{code} {name}"} if name else {}
        self._answer(code, json.dumps({"error": f"{code} {name}".strip()}).encode(), **extra)

    def _answer(self, code, body, kind="application/json", **headers):
        self._begin(code, {"Content-Type": kind, "Content-Length": len(body)} | headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, code, headers):
        self.hub.requests.append((self.command, self.path, code))
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _send_file(self, repository, path, faults):
        commit = {"X-Repo-Commit": repository.commit}
        if path not in repository.entries:
            return self._answer(404, b"", **commit | {"X-Error-Code": "EntryNotFound"})
        entry, first = repository.entries[path], 0
        last = entry["size"] - 1
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            first, last = int(wanted[1]), int(wanted[2] or last)
        if SHORT in faults:
            last //= 2
        headers = commit | {"Accept-Ranges": "bytes", "ETag": f'"{entry.get("lfs", entry)["oid"]}"'}
        if "lfs" in entry:
            headers |= {"X-Linked-Size": entry["size"], "X-Linked-Etag": headers["ETag"]}
        if wanted:
            headers |= {"Content-Range": f"bytes {first}-{last}/{entry['size']}"}
        self._begin(206 if wanted else 200, headers | {"Content-Length": last + 1 - first})
        if self.command == "HEAD":
            return
        if CUT in faults:
            last, self.close_connection = first + (last - first) // 2, True
        with (repository.folder / path).open("rb") as source:
            source.seek(first)
            for start in range(first, last + 1, BLOCK):
                block = source.read(min(BLOCK, last + 1 - start))
                if CHANGED in faults and start == first:
                    block = block[:-1] + bytes([block[-1] ^ 1])
                self.wfile.write(block)
