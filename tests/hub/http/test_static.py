"""The page's files on the wire: compressed, immutable under a build's name, preloaded, small."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from twisted.web.http_headers import Headers

from hapi.hub.http.page_build import (
    ENTRY_MODULE,
    SERVICE_WORKER,
    SHARED_ENTRY_MODULE,
    PageBuild,
    PageBuilds,
    static_imports,
    view_modules,
    without_comments,
)
from hapi.hub.http.page_bundle import bundled
from hapi.hub.http.static import DIAGRAM_FRAME, PAGES, OwnPage, PageResource
from hapi.net.server.http import accepts_gzip
from tests.support.hub_stage import Stage

LOCAL = re.compile(r'(?:href|src)="(\.{1,2}/[^"]+)"')
PRELOAD = re.compile(r'<link rel="modulepreload" href="[./]+/assets/[^/]+/([^"]+)">')


class Request:
    """What `PageResource` asks of a request and sets on it."""

    def __init__(self, path: str, **headers: str) -> None:
        self.path = path.encode()
        self.code = 200
        self.sent: dict[str, str] = {}
        self.responseHeaders = Headers()
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def getHeader(self, name: str) -> str | None:
        return self._headers.get(name.lower())

    def setHeader(self, name: str, value: str) -> None:
        self.sent[name.lower()] = value

    def setResponseCode(self, code: int) -> None:
        self.code = code


def get(page: PageResource, path: str, **headers: str) -> tuple[Request, bytes]:
    request: Any = Request(path, **headers)
    return request, page.render_GET(request)


@pytest.fixture
def page() -> PageResource:
    return PageResource()


def document(page: PageResource, place: str = "/") -> str:
    return get(page, place)[1].decode()


def addresses(text: str, place: str = "/") -> list[str]:
    """The local addresses in `index.html` as a browser resolves them, each once."""
    return sorted({urljoin(place, found) for found in LOCAL.findall(text)})


def assets(page: PageResource, place: str = "/") -> list[str]:
    found = addresses(document(page, place), place)
    return [address for address in found if address.startswith("/assets/")]


# --- builds ---


def test_scripts_and_styles_are_kept_for_good_and_the_document_is_asked_for_each_time(page):
    for address in assets(page):
        request, content = get(page, address)
        assert (request.code, bool(content)) == (200, True), address
        assert request.sent["cache-control"] == "public, max-age=31536000, immutable"
        assert request.sent["x-content-type-options"] == "nosniff"
    request, _ = get(page, "/")
    assert request.sent["cache-control"] == "no-cache"
    assert "default-src 'self'" in request.sent["content-security-policy"]
    again, content = get(page, "/", if_none_match=request.sent["etag"])
    assert (again.code, content) == (304, b"")


def test_a_worker_may_load_scripts_of_the_page_and_nothing_else(page):
    build = document(page).split("/assets/")[1].split("/")[0]
    request, _ = get(page, f"/assets/{build}/lib/code/highlight-worker.js")
    policy = request.sent["content-security-policy"]
    assert policy == "default-src 'none'; script-src 'self'"


@pytest.mark.parametrize("place", ["", "assets/"])
def test_diagrams_are_drawn_in_a_document_that_reaches_no_network(page, place):
    build = document(page).split("/assets/")[1].split("/")[0]
    request, content = get(page, f"/{place and f'assets/{build}/'}diagram.html")
    policy = request.sent["content-security-policy"].split("; ")
    assert b"mermaid.min.js" in content
    assert {"default-src 'none'", "connect-src 'none'", "sandbox allow-scripts"} <= set(policy)
    assert "frame-ancestors 'self'" in policy


def test_telegram_may_show_the_page_with_its_diagrams():
    page = PageResource(OwnPage(is_mini_app=True))
    request, _ = get(page, "/diagram.html")
    assert "frame-ancestors 'self' https://web.telegram.org" in str(request.sent)


@pytest.mark.parametrize("form", ["W/{}", '"other", {}', "*"])
def test_a_validator_counts_in_every_form_that_a_client_may_send(page, form):
    known = get(page, "/")[0].sent["etag"]
    assert get(page, "/", if_none_match=form.format(known))[0].code == 304
    assert get(page, "/", if_none_match='"other"')[0].code == 200


def test_every_script_and_style_of_the_document_has_the_address_of_the_build(page):
    text = document(page)
    local = [address for address in addresses(text) if address.endswith((".js", ".css"))]
    assert local == assets(page)
    assert not re.search(r'(?:href|src)="/', text), "an address that the base path is not part of"
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "an inline script"


@pytest.mark.parametrize("base", ["", "/hapi", "/deep/er"])
@pytest.mark.parametrize(
    "place", ["/", "/sessions/abc", "/sessions/abc/", "/a/b/c/d/e/f/g/h/i/j/k/l"]
)
def test_the_addresses_lead_to_the_page_wherever_a_proxy_puts_it(page, base, place):
    """The proxy removes `base`; the browser resolves what it gets against the whole path."""
    found = addresses(document(page, place), base + place)
    assert all(address.startswith(f"{base}/") for address in found)
    for address in found:
        assert get(page, address.removeprefix(base))[0].code == 200, address


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(0, len(text)))  # so that each text has a time of its own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "page"
    write(root / "index.html", '<head><script type="module" src="/app.js"></script></head>')
    write(root / "app.js", 'import { h } from "./lib/dom.js";\n')
    write(root / "lib/dom.js", "export const h = 1;\n")
    return root


def test_after_an_upgrade_every_module_has_a_new_address__and_an_open_page_keeps_the_old(root):
    builds = PageBuilds(str(root))
    before = builds.current()
    assert builds.current() is before
    write(root / "lib/dom.js", "export const h = 22;\n")
    after = builds.current()
    assert before.name != after.name
    text = after.document("").content.decode()
    assert before.name not in text
    assert addresses(text) == [f"/assets/{after.name}/{path}" for path in ("app.js", "lib/dom.js")]
    old = builds.named(before.name)
    assert old is not None
    assert old.files["lib/dom.js"].content == b"export const h = 1;\n"
    assert builds.named(after.name) is after


def test_only_the_build_before_is_kept_and_an_unknown_one_is_missing(root):
    builds = PageBuilds(str(root))
    names = []
    for number in range(3):
        write(root / "lib/dom.js", f"export const h = {'1' * (number + 2)};\n")
        names.append(builds.current().name)
    assert [builds.named(name) is not None for name in names] == [False, True, True]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/0000000000000000/app.js",
        "/assets/BUILD/index.html",
        "/assets/BUILD/__init__.py",
        "/assets/BUILD/",
        "/assets/BUILD",
        "/assets/",
        "/assets/BUILD/../app.js",
        "/assets/BUILD/lib",
        "/assets/BUILD/lib/",
        "/__init__.py",
        "/package.json",
    ],
)
def test_what_is_no_file_of_the_build_is_missing(page, path):
    name = document(page).split("/assets/")[1].split("/")[0]
    request, content = get(page, path.replace("BUILD", name))
    assert (request.code, content) == (404, b"404 Not Found")


def test_directories_links_and_hidden_files_are_no_part_of_a_build(root):
    (root / "link.js").symlink_to(root / "app.js")
    (root / ".hidden").mkdir()
    write(root / ".hidden/a.js", "secret")
    write(root / ".env.js", "secret")
    write(root / "__init__.py", "secret")
    assert set(PageBuilds(str(root)).current().files) == {"app.js", "lib/dom.js"}


# --- the wire ---


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip, deflate, br", True),
        ("GZIP", True),
        ("*", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("gzip;q=x", False),
        ("br", False),
        ("", False),
    ],
)
def test_a_client_says_whether_it_takes_gzip(header, accepted):
    assert accepts_gzip(header) is accepted


def test_a_file_goes_out_gzipped_to_clients_that_take_it(page):
    for address in [*assets(page), "/", "/app.js"]:
        plain, content = get(page, address)
        packed, compressed = get(page, address, accept_encoding="gzip")
        assert plain.sent["vary"] == packed.sent["vary"] == "Accept-Encoding"
        assert "content-encoding" not in plain.sent
        assert packed.sent["content-encoding"] == "gzip"
        assert gzip.decompress(compressed) == content


def test_comments_and_indentation_stay_at_home_and_lines_keep_their_numbers():
    script = (
        "/**\n * @param {string} a\n */\nexport function f(a) {\n  // why\n"
        '  return "// kept" + a; // kept\n}\n'
        "/** @type {A} */ (b).c = d;\n/** gone */\n"
    )
    assert without_comments("a.js", script.encode()).decode() == (
        '\n\n\nexport function f(a) {\n\nreturn "// kept" + a; // kept\n}\n(b).c = d;\n\n'
    )
    assert without_comments("a.css", b"/* why */\na { b: c; }\n") == b"\na { b: c; }\n"
    assert without_comments("icon.svg", b"  <!-- a -->") == b"  <!-- a -->"


def sources() -> dict[str, str]:
    """The page's own scripts."""
    paths = {path.relative_to(PAGES).as_posix(): path for path in PAGES.rglob("*.js")}
    return {
        name: path.read_text() for name, path in paths.items() if not name.startswith("vendor/")
    }


def built() -> dict[str, str]:
    """The page's own scripts as they are served, with their comments."""
    written = sources()
    return bundled(written, static_imports(written, [ENTRY_MODULE]))


@pytest.mark.parametrize("place", ["/", "/sessions/abc", "/machines/abc"])
def test_a_place_preloads_the_modules_that_it_needs_and_each_once(page, place):
    modules = built()
    preloaded = PRELOAD.findall(document(page, place))
    assert len(preloaded) == len(set(preloaded))
    assert preloaded[0] == ENTRY_MODULE
    assert set(static_imports(modules, preloaded)) == set(preloaded)
    assert ("views/chat/chat.js" in preloaded) is (place == "/sessions/abc")
    assert ("views/machine/machine.js" in preloaded) is (place == "/machines/abc")


def test_the_table_of_views_names_modules_and_places_that_exist():
    modules = sources()
    found = view_modules(modules)
    assert len(found) == modules["views/shell/routes.js"].count("import(")
    assert set(found.values()) <= set(modules)
    listed = re.findall(r'^  "([^"]+)",$', modules["data/addresses.js"], re.MULTILINE)
    assert set(found) <= set(listed)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", "b"), ("a/1", "a"), ("a/1/x", "x"), ("a/1/y", "b"), ("a/", "b"), ("a//x", "b")],
)
def test_a_path_gets_the_document_of_its_place(path, expected):
    table = '  "a/*": () => import("../a.js"),\n  "a/*/x": () => import("../x.js"),\n'
    index = b"<html><head></head></html>"
    files = {"index.html": index, "app.js": b"", "views/a.js": b"", "views/x.js": b""}
    build = PageBuild.of({**files, "views/shell/routes.js": table.encode()})
    text = build.document(path).content.decode()
    views = {match[6:-3] for match in PRELOAD.findall(text) if match.startswith("views/")}
    assert views == ({expected} - {"b"})


@pytest.mark.parametrize("modules", [sources, built])
def test_every_module_is_imported_by_some_other(modules):
    """A module that nothing imports would be shipped for nothing."""
    modules = modules()
    dynamic = [
        os.path.normpath(os.path.join(os.path.dirname(path), target))
        for path, text in modules.items()
        for target in re.findall(r'\b(?:import|new URL)\("(\.[^"]+\.js)"', text)
    ]
    in_frame = re.findall(r'src="(lib/[^"]+)"', Path(PAGES, DIAGRAM_FRAME).read_text())
    entries = [ENTRY_MODULE, SHARED_ENTRY_MODULE, SERVICE_WORKER, *in_frame, *dynamic]
    assert set(static_imports(modules, entries)) == set(modules)


def test_imports_are_found_over_lines_and_through_re_exports():
    modules = {
        "app.js": 'import {\n  a,\n  b,\n} from "./lib/a.js";\nimport "./lib/side.js";\n',
        "lib/a.js": 'export { b } from "../data/b.js";\nconst text = "./lib/no.js";\n',
        "data/b.js": 'import { a } from "../lib/a.js";\n',
        "lib/side.js": "",
        "lib/no.js": "",
    }
    assert static_imports(modules, ["app.js"]) == [
        "app.js",
        "lib/a.js",
        "lib/side.js",
        "data/b.js",
    ]


def test_the_first_load_takes_less_than_60_kb_on_the_wire():
    """Log-in page and sessions list: the document, what it names, and the heads of the answers."""
    stage = Stage()
    text = stage.rest("GET", "/", namespace=None).body
    page = PageResource()
    total = 0
    for address in ["/", *addresses(text)]:
        request, content = get(page, address, accept_encoding="gzip, deflate, br")
        assert request.code == 200
        head = sum(len(name) + len(value) + 4 for name, value in request.sent.items())
        total += len(content) + head + 120  # status line, Server, Date, Content-Length
    assert total < 60_000


def test_a_build_without_an_index_still_is_one():
    assert PageBuild.of({"app.js": b""}).document("").content == b""


def test_a_page_whose_files_were_removed_is_served_as_it_was_read_last(tmp_path):
    root = tmp_path / "pages"
    root.mkdir()
    (root / "index.html").write_text("<html><head></head></html>")
    page = PageResource(OwnPage(root))
    assert page.problem() is None
    (root / "index.html").unlink()
    request, body = get(page, "/")
    assert (request.code, b"<html>" in body) == (200, True)


def test_a_page_that_was_never_there_is_not_served_as_an_empty_one(tmp_path, logged_failures):
    page = PageResource(OwnPage(tmp_path))
    request, body = get(page, "/")
    assert (request.code, body[:12]) == (503, b"The files of")
    assert page.problem() == f"the page cannot be read: the page is missing ({tmp_path})"


@pytest.mark.parametrize("path", ["/share/abc", "/share/abc/", "/share/x/y"])
def test_a_shared_conversation_has_a_document_of_its_own(path: str):
    answer = Stage().rest("GET", path, None, None)
    assert answer.status == 200
    assert "share.js" in answer.body
    assert "app.js" not in answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    # Its formulas are drawn with fonts of the page.
    assert "font-src 'self'" in answer.headers["content-security-policy"].split("; ")
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert answer.headers["referrer-policy"] == "no-referrer"
