"""The hub's web page: HAPI's own, or the files of another directory (`--web-root`)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from attrs import frozen
from twisted.logger import Logger
from twisted.web.resource import Resource
from werkzeug.http import parse_etags

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed
from hapi.hub.http.page_build import (
    MAX_FILE_SIZE,
    VERSIONED_SUFFIXES,
    PageBuilds,
    PageFile,
    content_type,
    entity_tag,
)
from hapi.net.server.http import accepts_gzip
from hapi.request_id import REQUEST_ID_HEADER

PAGES = Path(__file__).parents[1] / "pages"
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none';"
    " base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
TELEGRAM_FRAMES = "frame-ancestors https://web.telegram.org https://*.telegram.org"
"""What may show the page in a frame while the hub has a Telegram bot: Telegram in a browser."""
DIAGRAM_FRAME = "diagram.html"
DIAGRAM_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)
"""For the document in which Mermaid draws: an origin of its own, the page's scripts, no network.

Mermaid measures text with styles that it writes itself, so styles may be inline there.
"""
SHARED = "share/"  # the path of a shared conversation begins so
SHARED_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; worker-src 'self'; frame-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'"
)
WORKER_SUFFIX = "-worker.js"
WORKER_POLICY = "default-src 'none'; script-src 'self'"  # a worker loads scripts and no data
REVALIDATE = "no-cache"
IMMUTABLE = "public, max-age=31536000, immutable"
FILE_SUFFIXES = VERSIONED_SUFFIXES | {".map", ".png", ".svg", ".ico", ".json", ".woff2", ".py"}
"""A missing path with such a suffix is answered with 404, any other with `index.html`."""


@frozen
class Found:
    """A file, and how long a browser may keep it."""

    file: PageFile
    cache: str = REVALIDATE
    policy: str | None = None
    is_private: bool = False  # no search engine may list it


class Files(Protocol):
    """Where the page's files come from."""

    def find(self, path: str) -> Found | None:
        """The file of the relative `path`, None when there is no such file."""

    def document(self, path: str, depth: int) -> Found | None:
        """`index.html` for the place `path` of the page, `depth` directories below its root."""


class OwnPage:
    """HAPI's own page, with its strict policy."""

    def __init__(self, root: Path = PAGES, is_mini_app: bool = False) -> None:
        self._policy, self._diagram_policy = CONTENT_POLICY, DIAGRAM_POLICY
        if is_mini_app:
            self._policy = CONTENT_POLICY.replace("frame-ancestors 'none'", TELEGRAM_FRAMES)
            among = TELEGRAM_FRAMES.replace("frame-ancestors", "frame-ancestors 'self'")
            self._diagram_policy = DIAGRAM_POLICY.replace("frame-ancestors 'self'", among)
        self._builds = PageBuilds(os.path.realpath(root))

    def find(self, path: str) -> Found | None:
        first, _, rest = path.partition("/")
        if first == "assets":
            name, _, asset = rest.partition("/")
            build = self._builds.named(name)
            file = build and build.files.get(asset)
            policy = WORKER_POLICY if asset.endswith(WORKER_SUFFIX) else None
            if asset == DIAGRAM_FRAME:
                policy = self._diagram_policy
            return Found(file, IMMUTABLE, policy) if file else None
        if path == "index.html":
            return self.document("", 0)
        file = self._builds.current().files.get(path)
        policy = self._diagram_policy if path == DIAGRAM_FRAME else self._policy
        return Found(file, policy=policy) if file else None

    def document(self, path: str, depth: int) -> Found | None:
        build = self._builds.current()
        if path.startswith(SHARED):
            return Found(build.shared_document(depth), policy=SHARED_POLICY, is_private=True)
        return Found(build.document(path, depth), policy=self._policy)


class Directory:
    """The files below `root`, read at each request and sent without a content policy."""

    def __init__(self, root: Path) -> None:
        self._directory = ConfinedDirectory(root, follow_links=False)

    def find(self, path: str) -> Found | None:
        """A regular file below the root, with no symbolic link on its way."""
        try:
            with open(path, "rb", opener=self._directory.open) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return None
                content = file.read(MAX_FILE_SIZE)
        except (OSError, ValueError, PathNotAllowed):
            return None
        return Found(PageFile(content, content_type(path), entity_tag(content)))

    def document(self, path: str, depth: int) -> Found | None:
        return self.find("index.html")


class PageResource(Resource):
    """Serves a page: the files below a directory, or HAPI's own without one.

    A path that names no file is answered with `index.html`, whose scripts route by the path.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, files: Files | Path | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if files is None:
            files = OwnPage()
        self._files: Files = Directory(files) if isinstance(files, Path) else files

    def render_GET(self, request: Any) -> bytes:
        request.setHeader("X-Content-Type-Options", "nosniff")
        path = relative_path(request.path)
        found = None
        try:
            if path is not None:
                found = self._files.find(path)
                if found is None and not names_a_file(path):
                    found = self._files.document(path, request.path.count(b"/") - 1)
        except OSError as error:
            return self._unreadable(request, error)
        return self._missing(request) if found is None else self._send(request, found)

    def problem(self) -> str | None:
        """Why there is no page to serve, as a clause; None if there is one."""
        try:
            return (
                None
                if self._files.document("", 0)
                else "the directory of the page has no index.html"
            )
        except OSError as error:
            return f"the page cannot be read: {error.strerror} ({error.filename})"

    render_HEAD = render_GET

    def _send(self, request: Any, found: Found) -> bytes:
        file = found.file
        request.setHeader("Content-Type", file.content_type)
        request.setHeader("Cache-Control", found.cache)
        if found.cache == IMMUTABLE:
            # There are many of these, and a browser asks for each once: nothing refers to one.
            for name in ("Server", REQUEST_ID_HEADER):
                request.responseHeaders.removeHeader(name)
        if found.cache == REVALIDATE:
            request.setHeader("Referrer-Policy", "no-referrer")
            request.setHeader("ETag", file.etag)
        if found.is_private:
            request.setHeader("X-Robots-Tag", "noindex, nofollow")
        if found.policy is not None:
            request.setHeader("Content-Security-Policy", found.policy)
        if file.gzipped is not None:
            request.setHeader("Vary", "Accept-Encoding")
        known = parse_etags(request.getHeader("if-none-match"))
        if found.cache == REVALIDATE and known.contains_weak(file.etag.strip('"')):
            request.setResponseCode(304)
            return b""
        if file.gzipped is not None and accepts_gzip(request.getHeader("accept-encoding") or ""):
            request.setHeader("Content-Encoding", "gzip")
            return file.gzipped
        return file.content

    def _unreadable(self, request: Any, error: OSError) -> bytes:
        self.log.error("The page cannot be read: {reason}", reason=str(error))
        request.setResponseCode(503)
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return b"The files of the page cannot be read; the log of the hub says why"

    def _missing(self, request: Any) -> bytes:
        request.setResponseCode(404)
        request.setHeader("Referrer-Policy", "no-referrer")
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return b"404 Not Found"


def relative_path(raw: bytes) -> str | None:
    """The path of a request relative to the root; None when it could lead out of the root."""
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return None
    path = path.strip("/")
    if any(character in path for character in "\0\\%"):
        return None
    if any(part.startswith(".") for part in path.split("/")):
        return None
    return path or "index.html"


def names_a_file(path: str) -> bool:
    """Whether a path can only mean a file, so that it is answered with 404 when there is none."""
    return path.partition("/")[0] == "assets" or Path(path).suffix.lower() in FILE_SUFFIXES
