"""The web page as it is served: its files, gzipped and addressed by the name of their build.

Scripts and style sheets are served below `/assets/BUILD/`, where BUILD is a hash of all files. The
content of such an address never changes, so browsers keep it for good; a new build has new
addresses, so all of it is fetched anew. `index.html` is served with these addresses, and with a
preload for each module that is needed at once.

Files of other projects are in `vendor/`, which `vendor/list.json` names with their versions and
hashes. They are large and rarely needed, so each is read and compressed when it is first asked for.

The addresses in `index.html` are relative to the place for which it is served, so that the page
also works below a path of which the hub does not know (a proxy's `location /hapi/`).
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import mimetypes
import os
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from posixpath import dirname, join, normpath

from attrs import field, frozen

from hapi.hub.http.page_bundle import bundled

ENTRY_MODULE = "app.js"
SHARED_ENTRY_MODULE, SHARED_INDEX = "share.js", "share.html"
"""The page of a shared conversation, a document of its own: it has no token and asks for none."""

VIEW_TABLE = "views/shell/routes.js"
"""The page's table of views: which module shows which place. A place is the shape of a path, in
which a star stands for one segment."""

SERVICE_WORKER = "service-worker.js"
OFFLINE_PLACE = "sessions/*"
"""The place whose modules the service worker keeps, for a page that is opened without a network."""

VERSIONED_SUFFIXES = frozenset({".js", ".css"})
VENDORED = "vendor/"
VENDOR_LIST = "vendor/list.json"
LANGUAGES = "languages/"
"""The texts of the page in other languages than English, a JSON object each."""

VENDOR_COMPRESSION = 6  # of zlib; the last levels take three times as long for 1 % less
SERVED_SUFFIXES = VERSIONED_SUFFIXES | {".html", ".svg", ".webmanifest", ".woff2", ".png"}
MAX_FILE_SIZE = 32 << 20  # bytes
MAX_KEPT_DEPTH = 8  # directories; documents of places that are deeper are made at each request
CONTENT_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
}
TEXT_TYPES = frozenset({"application/json", "application/manifest+json", "image/svg+xml"})

TABLE_ENTRY = re.compile(r'^  "?([^":]+)"?: \(\) => import\("(\.[^"]+)"\)', re.MULTILINE)
STATIC_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"(\.[^"]+)"', re.MULTILINE)
LOCAL_ADDRESS = re.compile(r'(href|src)="/([^"]+)"')
LINE_COMMENT = re.compile(r"^[ \t]*//.*$", re.MULTILINE)
BLOCK_COMMENT = re.compile(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*$", re.MULTILINE | re.DOTALL)
INLINE_COMMENT = re.compile(r"/\*\*(?:(?!\*/)[^\n])*\*/ ?")  # a type; none is in a text
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


def content_type(name: str) -> str:
    """The Content-Type for a file of this name, with a charset for what is text."""
    suffix = Path(name).suffix
    kind = CONTENT_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    is_text = kind.startswith("text/") or kind in TEXT_TYPES
    return f"{kind}; charset=utf-8" if is_text else kind


@frozen
class PageFile:
    """One file as it goes out. `gzipped` is None where compression does not make it smaller."""

    content: bytes
    content_type: str
    etag: str
    gzipped: bytes | None = None

    @classmethod
    def of(cls, name: str, content: bytes, level: int = 9) -> PageFile:
        """A file that is sent often: it is compressed here, once."""
        packed = gzip.compress(content, level, mtime=0)
        return cls(
            content,
            content_type(name),
            entity_tag(content),
            packed if len(packed) < len(content) else None,
        )


def entity_tag(content: bytes) -> str:
    return f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


class VendoredFiles(Mapping[str, PageFile]):
    """Files of other projects by their relative paths, each read when it is first asked for.

    `hashes` are their SHA-256 as hexadecimal digits. A file that differs, as it does when another
    version has been installed meanwhile, is missing.
    """

    def __init__(self, root: str, hashes: Mapping[str, str]) -> None:
        self._root = root
        self._hashes = hashes
        self._read: dict[str, PageFile] = {}

    @classmethod
    def listed(cls, root: str, packages: bytes) -> VendoredFiles:
        """The files that `packages`, the content of `vendor/list.json`, names."""
        return cls(
            root,
            {
                f"{VENDORED}{package['directory']}/{path}": file["sha256"]
                for package in json.loads(packages)
                for path, file in package["files"].items()
            },
        )

    def __getitem__(self, path: str) -> PageFile:
        if path not in self._read:
            wanted = self._hashes[path]
            try:
                content = Path(self._root, path).read_bytes()
            except OSError as error:
                raise KeyError(path) from error
            if hashlib.sha256(content).hexdigest() != wanted:
                raise KeyError(path)
            self._read[path] = PageFile.of(path, content, VENDOR_COMPRESSION)
        return self._read[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)


@frozen
class PageBuild:
    """All files of the page at one moment."""

    name: str
    files: Mapping[str, PageFile]
    index: str
    """`index.html` as it is in the sources."""
    shared_index: str
    """`share.html` as it is in the sources."""
    preloads: Mapping[str, list[str]]
    """The modules needed at once, by place; "" for every path that is none."""
    _documents: dict[tuple[str, int], PageFile] = field(factory=dict, repr=False, eq=False)

    @classmethod
    def of(
        cls, sources: Mapping[str, bytes], vendored: Mapping[str, PageFile] | None = None
    ) -> PageBuild:
        """The build of `sources`: the contents of the page's files by their relative paths.

        `vendored` has the files of other projects. Their hashes are in one of the sources, so a
        build in which one of them differs has another name.
        """
        digest = hashlib.blake2b(digest_size=8)
        for path, content in sorted(sources.items()):
            digest.update(b"%d %s %d " % (len(path), path.encode(), len(content)) + content)
        name = digest.hexdigest()
        written = {path: text.decode() for path, text in sources.items() if path.endswith(".js")}
        modules = bundled(written, static_imports(written, [ENTRY_MODULE]))
        others = {path: text for path, text in sources.items() if path not in written}
        served = others | {path: text.encode() for path, text in modules.items()}
        known: dict[str, list[str]] = {}
        preloads = {
            place: static_imports(modules, [ENTRY_MODULE, *([view] if view else [])], known)
            for place, view in {"": None, **view_modules(written)}.items()
        }
        files = {
            path: PageFile.of(path, without_comments(path, content))
            for path, content in served.items()
            if path not in ("index.html", SHARED_INDEX, VENDOR_LIST)
        }
        preloads[SHARED_INDEX] = static_imports(modules, [SHARED_ENTRY_MODULE], known)
        index, shared = (sources.get(path, b"").decode() for path in ("index.html", SHARED_INDEX))
        if SERVICE_WORKER in files:
            needed = [*preloads.get(OFFLINE_PLACE, preloads[""]), *style_sheets(index)]
            content = service_worker(files[SERVICE_WORKER].content, name, needed)
            files[SERVICE_WORKER] = PageFile.of(SERVICE_WORKER, content)
        return cls(name, ChainMap(files, vendored or {}), index, shared, preloads)  # type: ignore[arg-type]

    def document(self, path: str, depth: int = 0) -> PageFile:
        """`index.html` for a place of the page, e.g. `sessions/ID`, which is `depth` directories
        below the page's root: 1 for `/sessions/ID`, 2 for `/sessions/ID/`.
        """
        segments = path.strip("/").split("/")
        place = next((place for place in self.preloads if is_place(place, segments)), "")
        return self._document(place, depth, self.index)

    def shared_document(self, depth: int) -> PageFile:
        """`share.html`, `depth` directories below the page's root."""
        return self._document(SHARED_INDEX, depth, self.shared_index)

    def _document(self, place: str, depth: int, source: str) -> PageFile:
        made = self._documents.get((place, depth))
        if made is None:
            content = document(self, source, "../" * depth or "./", self.preloads[place])
            made = PageFile.of("index.html", content)
            if depth <= MAX_KEPT_DEPTH:
                self._documents[place, depth] = made
        return made


def style_sheets(index: str) -> list[str]:
    """The style sheets of `index.html`, relative to the page's root."""
    return [path for _, path in LOCAL_ADDRESS.findall(index) if path.endswith(".css")]


def service_worker(content: bytes, build: str, files: list[str]) -> bytes:
    """The page's service worker with the name of its build and the files that it keeps."""
    text = content.decode().replace('const BUILD = "";', f'const BUILD = "{build}";')
    return text.replace("const FILES = [];", f"const FILES = {json.dumps(files)};").encode()


def view_modules(modules: Mapping[str, str]) -> dict[str, str]:
    """The module of each place's view, as the page's own table has them."""
    directory = dirname(VIEW_TABLE)
    return {
        place: normpath(join(directory, relative))
        for place, relative in TABLE_ENTRY.findall(modules.get(VIEW_TABLE, ""))
    }


def is_place(place: str, segments: Sequence[str]) -> bool:
    """Whether a path of these segments has the shape `place`."""
    parts = place.split("/")
    return len(parts) == len(segments) and all(
        segment != "" if part == "*" else part == segment
        for part, segment in zip(parts, segments, strict=True)
    )


def without_comments(path: str, content: bytes) -> bytes:
    """A script or style sheet without its indentation, and without comments on lines of their own
    and types.

    Lines keep their numbers. No text in the page's scripts spans lines (the linter checks that), so
    only comments and indentation match.
    """
    if Path(path).suffix not in VERSIONED_SUFFIXES:
        return content
    text = BLOCK_COMMENT.sub(lambda match: "\n" * match[0].count("\n"), content.decode())
    if path.endswith(".js"):
        text = INLINE_COMMENT.sub("", LINE_COMMENT.sub("", text))
    return INDENTATION.sub("", text).encode()


def static_imports(
    modules: Mapping[str, str], entries: list[str], known: dict[str, list[str]] | None = None
) -> list[str]:
    """`entries` and all modules that these import statically, each once, breadth first.

    `known` keeps what a module imports, for the next call with the same `modules`.
    """
    known = {} if known is None else known
    found: list[str] = []
    waiting = [entry for entry in entries if entry in modules]
    while waiting:
        path = waiting.pop(0)
        if path in found:
            continue
        found.append(path)
        if path not in known:
            targets = STATIC_IMPORT.findall(modules[path])
            known[path] = [normpath(join(dirname(path), relative)) for relative in targets]
        waiting += [target for target in known[path] if target in modules]
    return found


def document(build: PageBuild, source: str, root: str, modules: list[str]) -> bytes:
    """The document `source` with the build's addresses, and with a preload for each of `modules`.

    `root` is the page's root relative to the place for which the document is served, e.g. `../`.
    """
    assets = f"{root}assets/{build.name}/"

    def address(match: re.Match[str]) -> str:
        attribute, path = match[1], match[2]
        is_versioned = path in build.files and Path(path).suffix in VERSIONED_SUFFIXES
        return f'{attribute}="{assets if is_versioned else root}{path}"'

    preloads = "".join(f'<link rel="modulepreload" href="{assets}{path}">\n' for path in modules)
    found = LOCAL_ADDRESS.sub(address, source)
    return found.replace("</head>", f"{preloads}</head>").encode()


def page_paths(root: str) -> dict[str, os.stat_result]:
    """The page's own files below `root` that are served, and the list of the vendored ones, by
    relative path.

    Hidden files, symbolic links and other kinds of files are left out.
    """
    found = {}
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith((".", "__")))
        for name in sorted(files):
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            if relative.startswith(VENDORED) and relative != VENDOR_LIST:
                continue
            is_served = (
                Path(name).suffix in SERVED_SUFFIXES
                or relative == VENDOR_LIST
                or (relative.startswith(LANGUAGES) and name.endswith(".json"))
            )
            if is_served and not name.startswith(".") and not os.path.islink(path):
                found[relative] = os.stat(path)
    return found


class PageBuilds:
    """The current build of the page below `root`, and the one before it.

    The files are read again when one of them has changed. A page that was opened before the change
    keeps loading the rest of the build that it started with. When the files are removed, the build
    that was read last goes on being served.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: object = None
        self._builds: list[PageBuild] = []

    def current(self) -> PageBuild:
        """The build of the files as they are now. Raises OSError when they cannot be read."""
        stats = page_paths(self._root)
        if "index.html" not in stats:  # uninstalled, or being replaced
            if not self._builds:
                raise FileNotFoundError(errno.ENOENT, "the page is missing", self._root)
            return self._builds[0]
        seen = {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}
        if seen != self._seen or not self._builds:
            sources = {path: Path(self._root, path).read_bytes() for path in stats}
            vendored = VendoredFiles.listed(self._root, sources.get(VENDOR_LIST, b"[]"))
            build = PageBuild.of(sources, vendored)
            self._builds = [build, *(kept for kept in self._builds if kept.name != build.name)][:2]
            self._seen = seen
        return self._builds[0]

    def named(self, name: str) -> PageBuild | None:
        """The build of that name, None unless it is the current or the previous one."""
        current = self.current() if not self._builds else self._builds[0]
        return next((build for build in [current, *self._builds] if build.name == name), None)
