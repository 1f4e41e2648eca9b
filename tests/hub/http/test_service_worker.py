"""The page's service worker, manifest and icons, as the hub serves them."""

import importlib.util
import json
import re
import struct
from pathlib import Path

from hapi.hub.http.page_build import SERVICE_WORKER, PageBuild, PageBuilds
from hapi.hub.http.static import PAGES

DRAWING = Path(__file__).parents[3] / "docs/make_icons.py"


def test_the_worker_keeps_the_files_of_the_build_that_it_comes_with() -> None:
    build = PageBuilds(str(PAGES)).current()
    text = build.files[SERVICE_WORKER].content.decode()
    assert f'const BUILD = "{build.name}";' in text
    found = re.search(r"const FILES = (\[.*\]);", text)
    assert found is not None
    files = json.loads(found[1])
    assert {"app.js", "views/chat/chat.js", "style/base.css"} <= set(files)
    assert not [path for path in files if path not in build.files]


def test_another_build_comes_with_another_worker() -> None:
    sources = {
        "index.html": b"<head></head>",
        "app.js": b"1",
        SERVICE_WORKER: b'const BUILD = "";\nconst FILES = [];\n',
    }
    first = PageBuild.of(sources)
    second = PageBuild.of({**sources, "app.js": b"2"})
    assert first.files[SERVICE_WORKER].etag != second.files[SERVICE_WORKER].etag


def size_of(png: bytes) -> str:
    width, height = struct.unpack(">II", png[16:24])
    return f"{width}x{height}"


def test_the_icons_have_the_sizes_that_the_manifest_names() -> None:
    icons = json.loads((PAGES / "app.webmanifest").read_text())["icons"]
    drawn = [icon for icon in icons if icon["type"] == "image/png"]
    assert {(icon["sizes"], icon["purpose"]) for icon in drawn} >= {
        ("192x192", "any"),
        ("512x512", "any"),
        ("512x512", "maskable"),
    }
    for icon in drawn:
        assert size_of((PAGES / icon["src"]).read_bytes()) == icon["sizes"]
    assert size_of((PAGES / "icons/apple-touch-icon.png").read_bytes()) == "180x180"
    assert (
        'rel="apple-touch-icon" href="/icons/apple-touch-icon.png"'
        in (PAGES / "index.html").read_text()
    )


def test_the_script_draws_what_is_there() -> None:
    """The smallest one; all of them would take half a minute."""
    spec = importlib.util.spec_from_file_location("make_icons", DRAWING)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.png(96, script.draw(96, 1.4, is_mask=True))
    assert made == (PAGES / "icons/badge.png").read_bytes()
