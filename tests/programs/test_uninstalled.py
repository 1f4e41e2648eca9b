"""What a running program says after HAPI was uninstalled under it."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import hapi
from tests.support.programs import Stage, free_port, until

pytestmark = pytest.mark.program


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base["HAPI_HOME"] = str(tmp_path / "home")
    yield made
    made.end()


@pytest.fixture
def package(stage):
    """A copy of the package, which the programs of the stage run."""
    parent = stage.directory("installed")
    copied = parent / "hapi"
    shutil.copytree(Path(hapi.__file__).parent, copied, ignore=shutil.ignore_patterns("*.pyc"))
    stage.base["PYTHONPATH"] = str(parent)
    return copied


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_neither_runner_nor_page_pretends_to_be_there_after_an_uninstall(stage, package):
    port = free_port()
    words = [sys.executable, "-P", "-m", "hapi", "up", "--no-qr", "--port", str(port)]
    program = stage.start("up", words, output=".printed")
    program.ready(lambda: "registered" in program.output)
    state = json.loads((stage.path / "home/runner.state.json").read_text())
    control = f"http://127.0.0.1:{state['httpPort']}"
    assert until(lambda: (found := get(f"{control}/readyz"))[0] == 200 and found)
    assert get(f"http://127.0.0.1:{port}/")[0] == 200

    shutil.rmtree(package)

    status, body = get(f"{control}/readyz")
    reason = json.loads(body)["reason"]
    assert status == 503
    assert reason == (
        f"no session can be started: {package}/__main__.py no longer exists "
        "(was HAPI uninstalled or moved?)"
    )
    assert get(f"{control}/healthz")[0] == 200
    status, page = get(f"http://127.0.0.1:{port}/")
    assert status == 200
    assert "<html" in page.lower()
