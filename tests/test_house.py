"""Imports point one way: between packages, between the rooms of a package, and never in a circle.

protocol and startup, then net and process, then runner, hub and session, then cli. Imports inside
functions and imports for type checkers count as any other.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hapi
from tests.support.paths import ROOT as CHECKOUT

ROOT = Path(hapi.__file__).parent
FACES = {"__init__", "__main__"}  # every other root module lies below all packages but LOWEST
LOWEST = {"protocol", "startup"}
MAY_IMPORT = {
    "protocol": set(),
    "startup": set(),
    "net": LOWEST,
    "process": {"protocol"},
    "runner": {*LOWEST, "net", "process"},
    "hub": {*LOWEST, "net", "process"},
    "session": {*LOWEST, "net", "process"},
    "client": {"protocol", "net"},
    "cli": {*LOWEST, "net", "process", "runner", "hub", "session", "client"},
}
# Which rooms of its package a room may import; `session` is a module of the package itself.
ROOMS = {
    "runner": {
        "workspace": set(),
        "storage": set(),
        "supervision": set(),
        "lock": {"storage"},
        "config": {"workspace"},
        "attempts": {"storage", "workspace"},
        "spawn": {"attempts", "config", "storage", "workspace"},
        "control": {"attempts", "storage"},
        "uplink": {"attempts", "config", "spawn", "storage", "workspace"},
        "handoff": {
            *("attempts", "config", "control", "lock", "spawn", "storage", "supervision", "uplink"),
        },
    },
    "hub": {
        "store": set(),
        "terminals": {"access", "domain", "store"},
        "pages": set(),
        "domain": {"store"},
        "access": {"domain", "store"},
        "records": {"access", "domain", "store"},
        "notify": {"access", "domain", "store"},
        "cluster": {"access", "domain", "store", "terminals"},
        "http": {"access", "cluster", "domain", "notify", "records", "store"},
    },
    "session": {
        "hub": set(),
        "rpc": {"agent"},
        "demo": set(),
        "startup": set(),
        "agent": {"hub"},
        "pty": {"agent"},
        "mcp": {"agent", "hub"},
        "local": {"agent", "hub", "session", "terminal"},
        "terminal": {"agent", "hub", "rpc", "session"},
    },
    "cli": {
        "base": set(),
        "checks": {"base"},
        "runner": {"base", "checks"},
        "hub": {"base", "checks", "runner"},
        "attach": {"base"},
        "commands": {"attach", "base", "checks", "hub", "runner"},
    },
    "net": {"common": set(), "client": {"common"}, "server": {"common"}},
    "protocol": {
        "agents": set(),
        "mcp": set(),
        "acp": {"json"},
        "offer": {"acp", "agents"},
        "rest": {"agents", "token"},
        "work": set(),
    },
}
MAX_MODULES = 25  # in one room
REACTOR_OR_SYSTEM = {"twisted", "klein", "autobahn", "treq", "psutil", "txaio", "werkzeug"}
MODULES = sorted(ROOT.rglob("*.py"))
TESTS = sorted((CHECKOUT / "tests").rglob("test_*.py"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of the modules and attributes that `path` imports anywhere in it."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (origin, node.module) if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def place(path: Path) -> tuple[str, ...]:
    """`hapi/net/client/link.py` is ("net", "client", "link")."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def places_imported(path: Path) -> set[tuple[str, ...]]:
    """The modules of ours that `path` imports."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "hapi":
            continue
        while len(parts) > 1 and not is_module(parts):
            parts.pop()
        found.add(tuple(parts[1:]))
    return found


def is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts[1:])
    return path.is_dir() or path.with_suffix(".py").exists()


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


IN_ROOMS = [path for path in MODULES if len(place(path)) > 2 and place(path)[0] in ROOMS]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_imports_only_what_lies_below_it(path):
    mine = place(path)
    packages = {other[0] for other in places_imported(path) if other} & set(MAY_IMPORT)
    if mine and mine[0] in MAY_IMPORT:
        above = packages - MAY_IMPORT[mine[0]] - {mine[0]}
        assert not above, f"hapi/{mine[0]} must not import hapi/{sorted(above)[0]}"
    elif path.stem not in FACES:
        above = packages - LOWEST
        assert not above, f"hapi/{mine[0]}.py lies below every program: no hapi/{sorted(above)[0]}"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if len(place(path)) > 2 and place(path)[0] in ROOMS],
    ids=named,
)
def test_a_room_imports_only_the_rooms_below_it(path):
    package, room = place(path)[:2]
    others = {other[1] for other in places_imported(path) if other[:1] == (package,) and other[1:]}
    above = others - ROOMS[package][room] - {room}
    assert not above, f"hapi/{package}/{room} must not import {sorted(above)} of its package"


def test_every_folder_is_a_package_or_a_room_that_is_listed_here():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(MAY_IMPORT)
    rooms: dict[str, set[str]] = {}
    for path in ROOT.glob("*/*/__init__.py"):
        rooms.setdefault(path.parts[-3], set()).add(path.parts[-2])
    assert rooms == {package: set(known) for package, known in ROOMS.items()}


def test_no_room_has_more_modules_than_a_reader_can_take_in():
    rooms = [ROOT, *(path.parent for path in ROOT.rglob("__init__.py"))]
    crowded = {named(room): len(list(room.glob("*.py"))) for room in rooms}
    assert {room: count for room, count in crowded.items() if count > MAX_MODULES} == {}


def test_no_folder_of_the_page_has_more_files_than_a_reader_can_take_in():
    pages = ROOT / "hub/pages"
    files = Counter(path.parent for path in pages.rglob("*") if path.is_file())
    crowded = {named(folder): count for folder, count in files.items() if count > MAX_MODULES}
    own = {folder: count for folder, count in crowded.items() if "vendor" not in Path(folder).parts}
    assert own == {}


def test_no_imports_form_a_circle():
    imports = {place(path): places_imported(path) - {place(path)} for path in MODULES}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(".".join(module) for module in reversed(error.args[1])))


@pytest.mark.parametrize("path", sorted((ROOT / "protocol").rglob("*.py")), ids=named)
def test_the_protocol_is_pure(path):
    impure = {name.split(".")[0] for name in imported(path)} & REACTOR_OR_SYSTEM
    assert not impure, f"hapi/protocol must work without {', '.join(impure)}"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_test_module_imports_another(path):
    modules = {name for name in imported(path) if name.startswith("tests.")}
    shared = tuple(
        f"tests.{place}"
        for place in ("support.", "growth.", "faults.table", "agents.results", "conftest")
    )
    assert {name for name in modules if not name.startswith((*shared, "tests.faults"))} == set()


def test_the_plugin_loads_none_of_our_code():
    plugin = CHECKOUT / "twisted/plugins/hapi_plugins.py"
    assert not {name for name in imported(plugin) if name.startswith("hapi")}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_the_repr_of_a_live_object_does_not_walk_all_that_it_refers_to(path):
    """Twisted's spawnProcess makes the repr of each signal handler, a bound method of one, and in
    a graph of objects that know each other that takes seconds."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            keywords = {word.arg for word in getattr(call, "keywords", ())}
            assert "eq" not in keywords or "repr" in keywords, f"{node.name} needs repr=False"
