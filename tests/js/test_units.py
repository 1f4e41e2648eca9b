"""Unit tests of the page's scripts (`*.test.js`), which Node.js runs on the files as served."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hapi.hub.http.page_build import PageBuilds
from hapi.hub.http.static import PAGES
from tests.support.paths import ROOT

pytestmark = pytest.mark.peer("node")
RUN_TIMEOUT = 300.0  # seconds
# Folders of `views` and those that they show parts of. The shell opens all of them.
VIEWS_MAY_IMPORT = {
    "settings": {"sessions"},
    "share": {"chat"},
    "waiting": {"chat"},
    "terminal": {"work"},
    "work": {"chat"},
}
# Rooms of a folder and those of it that each may import.
ROOMS_MAY_IMPORT = {
    "lib": {"browser": set(), "code": {"browser"}, "lists": set(), "markdown": {"code"}},
    "data": {
        "hub": set(),
        "conversation": set(),
        "sessions": set(),
        "records": set(),
        "work": {"hub"},
        "store": {"conversation", "hub", "sessions"},
        "composer": {"hub", "sessions", "store", "work"},
    },
    "views/chat": {"blocks": set(), "composer": {"blocks"}},
}
# Folders whose own modules put their rooms together; those of the others lie below the rooms.
MAY_IMPORT_THEIR_ROOMS = {"views/chat"}
BESIDE = ""  # no room: the modules of a folder that are in none


def own_scripts() -> list[Path]:
    """The paths of the page's own modules, relative to its root."""
    paths = [path.relative_to(PAGES) for path in PAGES.rglob("*.js")]
    return [path for path in paths if path.parts[0] != "vendor"]


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A directory with the page's scripts without their comments."""
    root = tmp_path / "pages"
    for path, file in PageBuilds(os.path.realpath(PAGES)).current().files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
    for source in own_scripts():
        target = root / source
        if not target.exists():  # it is served as a part of a bundle
            target.parent.mkdir(parents=True, exist_ok=True)
            bundle = "../" * (len(source.parts) - 2) or "./"
            target.write_text(f'export * from "{bundle}bundle.js";\n')
    shutil.copy(PAGES / "package.json", root)
    return root


def test_the_scripts_of_the_page_pass_their_unit_tests(served):
    tests = sorted(str(path) for path in (ROOT / "tests/js").glob("*.test.js"))
    done = subprocess.run(
        ["node", "--test", *tests],
        env={**os.environ, "HAPI_PAGE_ROOT": str(served)},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def imports() -> list[tuple[Path, Path]]:
    """Each of the page's own modules with each that it imports, for types as well."""
    return [
        (path, Path(os.path.normpath(path.parent / target)))
        for path in own_scripts()
        for target in re.findall(
            r'^(?:import|export|}|[ */]*@import)(?: .*)? from "(\.[^"]+)"',
            (PAGES / path).read_text(),
            re.MULTILINE,
        )
    ]


def test_folders_of_the_page_import_in_one_direction():
    """`data` builds on `lib`, `views` on both, and the views of one folder on listed ones only."""
    allowed = {"lib": {"lib"}, "data": {"lib", "data"}}
    wrong = []
    for path, target in imports():
        room = path.parts[0]
        if room in allowed and target.parts[0] not in allowed[room]:
            wrong.append((path, target))
        elif room == target.parts[0] == "views":
            folder, other = path.parts[1], target.parts[1]
            is_listed = other in VIEWS_MAY_IMPORT.get(folder, ())
            if folder not in (other, "shell") and not is_listed:
                wrong.append((path, target))
    assert wrong == []


@pytest.mark.parametrize("folder", ROOMS_MAY_IMPORT)
def test_rooms_of_a_folder_and_the_modules_beside_them_import_in_one_direction(folder):
    rooms = {room: {room, *others} for room, others in ROOMS_MAY_IMPORT[folder].items()}
    assert {path.name for path in (PAGES / folder).iterdir() if path.is_dir()} == set(rooms)
    if folder in MAY_IMPORT_THEIR_ROOMS:
        rooms[BESIDE] = {BESIDE, *rooms}
    else:
        rooms = {room: {BESIDE, *others} for room, others in [*rooms.items(), (BESIDE, set())]}
    wrong = [
        (path, target)
        for path, target in imports()
        if path.is_relative_to(folder)
        and target.is_relative_to(folder)
        and room_in(folder, target) not in rooms[room_in(folder, path)]
    ]
    assert wrong == []


def room_in(folder: str, path: Path) -> str:
    """The room of `folder` in which the module `path` is; or BESIDE."""
    inside = path.relative_to(folder).parts
    return inside[0] if len(inside) > 1 else BESIDE
