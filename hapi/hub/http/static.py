"""The web page: files of one directory, and nothing outside it."""

from __future__ import annotations

import hashlib
import mimetypes
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.resource import Resource

PAGES = Path(__file__).parents[1] / "pages"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
LARGEST = 32 << 20  # bytes
KINDS = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
}


def kind_of(name: str) -> str:
    kind = (
        KINDS.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    )
    text = kind.startswith("text/") or kind in (
        "application/json",
        "application/manifest+json",
        "image/svg+xml",
    )
    return f"{kind}; charset=utf-8" if text else kind


class PageResource(Resource):
    """`root` None: our own page, with its strict policy. Paths that name no file get `index.html`, which finds its way itself."""

    isLeaf = True

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._root = os.path.realpath(root or PAGES)
        self._policy = POLICY if root is None else None

    def render_GET(self, request: Any) -> bytes:
        request.setHeader("X-Content-Type-Options", "nosniff")
        request.setHeader("Referrer-Policy", "no-referrer")
        if self._policy:
            request.setHeader("Content-Security-Policy", self._policy)
        path = self._path(request.path)
        if path is None:
            return self._missing(request)
        content = self._content(path)
        if content is None and not _names_a_file(path):
            path, content = "index.html", self._content("index.html")
        return self._missing(request) if content is None else self._serve(request, path, content)

    render_HEAD = render_GET

    def _serve(self, request: Any, path: str, content: bytes) -> bytes:
        tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        request.setHeader("Content-Type", kind_of(path))
        request.setHeader("Cache-Control", "no-cache")
        request.setHeader("ETag", tag)
        if request.getHeader("if-none-match") == tag:
            request.setResponseCode(304)
            return b""
        return content

    def _missing(self, request: Any) -> bytes:
        request.setResponseCode(404)
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return b"404 Not Found"

    def _path(self, raw: bytes) -> str | None:
        """The file that a request names, relative to the root; None when the name is a trick."""
        try:
            path = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            return None
        parts = path.strip("/").split("/")
        if (
            "\0" in path
            or "\\" in path
            or "%" in path
            or any(part in ("..", ".") or part.startswith(".") for part in parts)
        ):
            return None
        return path.strip("/") or "index.html"

    def _content(self, path: str) -> bytes | None:
        """A regular file below the root, no symbolic link on its way; None if there is no such file."""
        try:
            place = os.path.join(self._root, path)
            if os.path.realpath(place) != place:
                return None
            with open(place, "rb", opener=_careful) as file:
                return file.read(LARGEST)
        except (OSError, ValueError):
            return None


def _careful(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _names_a_file(path: str) -> bool:
    """Whether a missing path should be 404 rather than the page: scripts and pictures are no places in the page."""
    return path.endswith(".py") or Path(path).suffix.lower() in {
        ".js",
        ".css",
        ".map",
        ".png",
        ".svg",
        ".ico",
        ".json",
        ".woff2",
    }
