"""Wheel and source distribution contain the page and the plugin, and twistd finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.program
TWISTD = "from twisted.scripts.twistd import run; run()"


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy of what git knows and would know, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("sources")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(
        listed, cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return copy


def build(sources: Path, target: Path, kind: str) -> Path:
    """Build `kind` (wheel, sdist) with the setuptools of this Python; the file."""
    code = f"from setuptools import build_meta as b; print(b.build_{kind}({str(target)!r}))"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=sources, check=True, capture_output=True
    )
    return next(path for path in target.iterdir() if path.suffix in (".whl", ".gz"))


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory) -> Path:
    return build(sources, tmp_path_factory.mktemp("wheel"), "wheel")


def test_the_wheel_holds_page_plugin_and_type_marker_and_nothing_of_the_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "twisted/plugins/hapi_plugins.py" in names
    assert "hapi/py.typed" in names
    pages = [path for path in (ROOT / "hapi/hub/pages").rglob("*") if path.suffix != ".pyc"]
    shipped = [path for path in [*(ROOT / "hapi").rglob("*.py"), *pages] if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in shipped} <= set(names)
    assert "hapi/hub/pages/lib/dom.js" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    assert not [
        name for name in names if name in ("twisted/__init__.py", "twisted/plugins/__init__.py")
    ]


def test_the_source_distribution_builds_the_same_wheel(sources, wheel, tmp_path):
    (tmp_path / "sdist").mkdir()
    packed = build(sources, tmp_path / "sdist", "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "again").mkdir()
    again = build(next((tmp_path / "unpacked").iterdir()), tmp_path / "again", "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def told(cwd: Path, environ: dict[str, str], *words: object) -> str:
    """What a command prints."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_installed_from_the_wheel_the_commands_are_there(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env/bin/python"
    install = (
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        wheel,
    )
    told(tmp_path, dict(os.environ), sys.executable, *install)
    environ = {
        **os.environ,
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }  # the packages we need, but not this checkout
    listed = told(tmp_path, environ, python, "-c", TWISTD, "--help")
    assert "hapi-runner" in listed
    assert "hapi-hub" in listed
    assert told(tmp_path, environ, tmp_path / "env/bin/hapi", "--version").startswith("hapi ")
    assert told(tmp_path, environ, python, "-c", "import hapi; print(hapi.__file__)").startswith(
        str(tmp_path)
    )


def test_from_the_development_install_twistd_lists_both(tmp_path):
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    listed = told(tmp_path, environ, sys.executable, "-c", TWISTD, "--help")
    assert "hapi-runner" in listed
    assert "hapi-hub" in listed
