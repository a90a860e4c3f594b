"""A model hub on loopback: enough of the protocol for the real huggingface_hub, and of ModelScope's addresses.

It can be told to break off, to refuse, to be slow, to change what it sends, and it notes what it was asked.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COMMIT = "1" * 40
LARGE = 10_000  # from this size on, a file is named by its sha256 and served from "elsewhere", as LFS files are


@dataclass
class Asked:
    """One request. start: first byte asked for. sent: bytes of content that went out."""

    method: str
    path: str
    start: int
    token: str
    sent: int = 0


@dataclass
class Hub:
    """What the server holds and how it behaves. Paths are "owner/name/path"."""

    files: dict[str, bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)  # repositories
    token: str = "hf_right"  # noqa: S105  # of nobody
    break_after: list[int] = field(default_factory=list)  # bytes after which the next content requests break off
    refuse_range: bool = False
    status: int = 0  # instead of an answer
    slowness: float = 0.0  # seconds a block
    deaf: bool = False  # takes connections and says nothing
    altered: bytes | None = None  # sent instead of the content
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)  # nobody needs the server any more

    def content_requests(self) -> list[Asked]:
        return [one for one in self.asked if one.method == "GET" and "/api/" not in one.path]


class HubServer:
    """Runs a Hub while the ``with`` block lasts."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
        self._server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Hub:
        self._thread.start()
        return self.hub

    def __exit__(self, *unused: object) -> None:
        self.hub.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            wanted = self.headers.get("Range", "")
            start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            asked = Asked(self.command, self.path, start, token)
            hub.asked.append(asked)
            if hub.deaf:
                hub.over.wait()
                return
            if hub.status:
                self._refuse(hub.status, "")
                return
            where = urlsplit(self.path)
            parts = where.path.strip("/").split("/")
            if parts[0] == "elsewhere":
                self._content(asked, hub.files["/".join(parts[1:])])
            elif parts[:3] == ["api", "v1", "models"]:
                self._listing("/".join(parts[3:5]), parse_qs(where.query))
            elif parts[0] == "models":  # ModelScope: /models/owner/name/resolve/revision/path
                self._file(asked, "/".join(parts[1:3]), "/".join(parts[5:]))
            else:  # /owner/name/resolve/revision/path
                self._file(asked, "/".join(parts[:2]), "/".join(parts[4:]))

        def _file(self, asked: Asked, repository: str, path: str) -> None:
            if repository in hub.gated and asked.token != hub.token:
                self._refuse(401 if not asked.token else 403, "GatedRepo")
                return
            content = hub.files.get(f"{repository}/{path}")
            if content is None:
                self._refuse(404, "EntryNotFound")
            elif len(content) >= LARGE:
                self.send_response(302)
                # Another host than the hub's, as its storage has; huggingface_hub reads the rest of this answer then.
                self.send_header(
                    "Location", f"{hub.url.replace('127.0.0.1', 'localhost')}/elsewhere/{repository}/{path}"
                )
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("X-Linked-Etag", f'"{sha256(content)}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._content(asked, content)

        def _content(self, asked: Asked, content: bytes) -> None:
            etag = sha256(content) if len(content) >= LARGE else git_sha1(content)
            sent = content if hub.altered is None or asked.method == "HEAD" else hub.altered
            start = 0 if hub.refuse_range else asked.start
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(sent) - 1}/{len(sent)}")
            self.send_header("Content-Length", str(len(sent) - start))
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if asked.method == "GET":
                self._send(asked, sent[start:])

        def _send(self, asked: Asked, content: bytes) -> None:
            limit = hub.break_after.pop(0) if hub.break_after else len(content)
            for place in range(0, min(len(content), limit), 16384):
                block = content[place : min(place + 16384, limit)]
                try:
                    self.wfile.write(block)
                except OSError:
                    break  # whoever asked has gone
                asked.sent += len(block)
                hub.over.wait(hub.slowness)
            if asked.sent < len(content):
                self.close_connection = True

        def _listing(self, repository: str, query: dict[str, list[str]]) -> None:
            assert query["Recursive"] == ["true"]
            listed = [
                {"Path": path.removeprefix(f"{repository}/"), "Size": len(content), "Sha256": sha256(content)}
                for path, content in hub.files.items()
                if path.startswith(f"{repository}/")
            ]
            if not listed:
                self._refuse(404, "")
                return
            body = json.dumps({"Code": 200, "Data": {"Files": listed}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
