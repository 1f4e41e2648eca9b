"""Imports point one way: protocol, then net and process, then runner, hub and session, then cli."""

import ast
from pathlib import Path

import pytest

import hapi

ROOT = Path(hapi.__file__).parent
DOORS = {
    "__init__",
    "__main__",
}  # every other root module lies below all rooms but the pure protocol
MAY_IMPORT = {
    "protocol": set(),
    "net": {"protocol"},
    "process": {"protocol"},
    "runner": {"protocol", "net", "process"},
    "hub": {"protocol", "net", "process"},
    "session": {"protocol", "net", "process"},
    "cli": {"protocol", "net", "process", "runner", "hub", "session"},
}
REACTOR_OR_SYSTEM = {"twisted", "klein", "autobahn", "treq", "psutil", "txaio", "werkzeug"}
MODULES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that `path` imports anywhere in it, lazily or not."""
    package = path.relative_to(ROOT.parent).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (origin, node.module) if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("hapi.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below_it(path):
    place = path.relative_to(ROOT).parts
    mine = place[0].removesuffix(".py")
    if len(place) > 1:
        above = rooms(path) & set(MAY_IMPORT) - MAY_IMPORT[mine] - {mine}
        assert not above, f"hapi/{mine} must not import hapi/{sorted(above)[0]}"
    elif mine not in DOORS:
        above = rooms(path) & set(MAY_IMPORT) - {"protocol"}
        assert not above, (
            f"hapi/{mine}.py lies below every program and must not import hapi/{sorted(above)[0]}"
        )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "protocol").rglob("*.py")), ids=lambda path: path.name
)
def test_the_protocol_is_pure(path):
    impure = {name.split(".")[0] for name in imported(path)} & REACTOR_OR_SYSTEM
    assert not impure, f"hapi/protocol must work without {', '.join(impure)}"


def test_the_house_has_exactly_these_rooms():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_the_plugin_loads_none_of_our_code():
    plugin = ROOT.parent / "twisted/plugins/hapi_plugins.py"
    assert not {name for name in imported(plugin) if name.startswith("hapi")}
