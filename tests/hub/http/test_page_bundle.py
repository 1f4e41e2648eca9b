"""Bundles of the page's modules: what they have is what the modules had."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapi.hub.http.page_build import ENTRY_MODULE, page_paths, static_imports
from hapi.hub.http.page_bundle import DIRECTORIES, NotBundled, bundle, bundled
from hapi.hub.http.static import PAGES

MODULES = {
    "app.js": 'import { a } from "./lib/a.js";\nimport { d } from "./data/d.js";\na(d);\n',
    "lib/a.js": 'import { b } from "./b.js";\n\nexport function a(x) {\n  return b + x;\n}\n',
    "lib/b.js": "export const b = 1;\n",
    "data/d.js": 'import { b } from "../lib/b.js";\n\nexport const d = b;\n',
    "views/v.js": 'import {\n  a,\n} from "../lib/a.js";\nexport const c = import("../lib/b.js");'
    "\n",
}


def test_modules_of_a_directory_become_one_and_all_others_import_from_it():
    found = bundled(MODULES, ["app.js", "lib/a.js", "lib/b.js", "data/d.js"])
    assert set(found) == {"app.js", "lib/bundle.js", "data/d.js", "views/v.js"}
    assert found["lib/bundle.js"] == (
        "export const b = 1;\n\nexport function a(x) {\n  return b + x;\n}\n"
    )
    assert found["app.js"].startswith('import { a } from "./lib/bundle.js";\n')
    assert '"../lib/bundle.js"' in found["data/d.js"]
    assert found["views/v.js"].count('"../lib/bundle.js"') == 2


def test_what_a_bundle_imports_from_elsewhere_stands_at_its_head_once():
    text = bundle(
        {
            "data/one.js": 'import { x, y } from "../lib/a.js";\nexport const one = x + y;\n',
            "data/two.js": 'import { y } from "../lib/a.js";\nexport const two = y;\n',
        },
        "data/bundle.js",
    )
    assert text.startswith('import { x, y } from "../lib/a.js";\nexport const one')
    assert text.count("import") == 1


def test_modules_of_several_folders_load_the_same_modules_from_their_bundle():
    modules = {
        "views/shell/shell.js": 'import { row } from "../list/row.js";\n'
        'import { a } from "../../lib/a.js";\n'
        'const load = () => import("../chat/chat.js");\nload(row, a);\n',
        "views/list/row.js": "export const row = 1;\n",
        "views/chat/chat.js": 'import { row } from "../list/row.js";\n',
    }
    found = bundled(modules, ["views/shell/shell.js", "views/list/row.js"])
    assert found == {
        "views/bundle.js": 'import { a } from "../lib/a.js";\n'
        "export const row = 1;\n"
        'const load = () => import("./chat/chat.js");\nload(row, a);\n',
        "views/chat/chat.js": 'import { row } from "../bundle.js";\n',
    }


def test_a_module_that_uses_its_own_address_does_not_move_to_another_folder():
    members = {"views/a/b.js": "const here = import.meta.url;\n", "views/c.js": ""}
    with pytest.raises(NotBundled):
        bundle(members, "views/bundle.js")


@pytest.mark.parametrize(
    "text",
    [
        'import * as all from "./b.js";\n',
        'import "./b.js";\n',
        'import { b as other } from "./b.js";\n',
        'export { b } from "./b.js";\n',
        "const b = 2;\n",
    ],
)
def test_modules_that_cannot_be_put_into_one_stay_as_they_are(text):
    modules = {"lib/a.js": text, "lib/b.js": "export const b = 1;\n"}
    with pytest.raises(NotBundled):
        bundle(modules, "lib/bundle.js")
    assert bundled(modules, list(modules)) == modules


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_the_modules_of_the_page_can_be_bundled(directory):
    """NotBundled names the names that two modules have at their top level: rename one of them."""
    paths = [path for path in page_paths(str(PAGES)) if path.endswith(".js")]
    modules = {path: Path(PAGES, path).read_text() for path in paths}
    needed = static_imports(modules, [ENTRY_MODULE])
    members = {path: modules[path] for path in needed if path.startswith(f"{directory}/")}
    assert bundle(members, f"{directory}/bundle.js")


def test_only_what_is_an_import_gets_the_address_of_the_bundle():
    modules = {
        "app.js": 'import { a } from "./lib/a.js";\nimport { b } from "./lib/b.js";\n',
        "lib/a.js": "export const a = 1;\n",
        "lib/b.js": "export const b = 2;\n",
        "later.js": (
            "// import { of a comment\n"
            'import {\n  a,\n} from "./lib/a.js";\n'
            'const later = () => import("./lib/b.js"), no = reimport("./lib/b.js");\n'
            ' import { a } from "./lib/a.js";\n'
            'const text = "import { a } from ";\n'
        ),
    }
    text = bundled(modules, ["app.js", "lib/a.js", "lib/b.js"])["later.js"]
    assert text.splitlines() == [
        "// import { of a comment",
        "import {",
        "  a,",
        '} from "./lib/bundle.js";',
        'const later = () => import("./lib/bundle.js"), no = reimport("./lib/b.js");',
        ' import { a } from "./lib/a.js";',
        'const text = "import { a } from ";',
    ]
