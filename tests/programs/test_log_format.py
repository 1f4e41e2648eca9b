"""What hub and runner log to standard error as JSON lines, with real programs."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support.peers import OUR_HAPI
from tests.support.programs import CANARY, Program, Stage, free_port

SPLIT = ["sh", "-c", 'exec "$@" 2>"$STANDARD_ERROR"', "sh"]


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    stage.end()


def json_lines(path: Path) -> list[dict]:
    """Every complete line, which must be JSON."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def start(stage: Stage, name: str, *arguments: str, **environment: str) -> tuple[Program, Path]:
    error = stage.path / f"{name}.error"
    more = {
        "HAPI_HOME": str(stage.directory("home")),
        "CLI_API_TOKEN": CANARY,
        "STANDARD_ERROR": str(error),
        **environment,
    }
    return stage.start(name, [*SPLIT, *OUR_HAPI, *arguments], more), error


def messages(path: Path) -> list[str]:
    return [line["message"] for line in json_lines(path)]


def test_hub_and_runner_log_json_lines_from_the_start_and_name_the_request(stage):
    port = free_port()
    settings = stage.directory("home") / "settings.json"
    settings.write_text('{"logFormat": "json"}')
    hub, hub_error = start(stage, "hub", "hub", "--port", str(port), "--log-format", "json")
    hub.ready(lambda: any("Hub serves" in line for line in messages(hub_error)))
    runner, runner_error = start(stage, "runner", "runner", "start-sync")
    runner.ready(lambda: messages(runner_error))
    auth = Request(
        f"http://127.0.0.1:{port}/api/auth",
        json.dumps({"initData": "x"}).encode(),
        {"Content-Type": "application/json", "X-Request-Id": "of-a-proxy"},
    )
    with pytest.raises(HTTPError) as refused:
        urlopen(auth)
    assert refused.value.headers["X-Request-Id"] == "of-a-proxy"
    assert json.loads(refused.value.read())["requestId"] == "of-a-proxy"
    hub.ready(lambda: any(line.get("request_id") == "of-a-proxy" for line in json_lines(hub_error)))
    assert runner.end() == 0
    assert hub.end() == 0
    for path in (hub_error, runner_error):
        found = json_lines(path)
        assert all({"time", "level", "system", "message"} <= set(line) for line in found)
        assert CANARY not in path.read_text()
    log = max((stage.path / "home/logs").glob("*-hub.log"))
    assert log.read_text() == hub_error.read_text()
