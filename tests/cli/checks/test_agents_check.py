"""`hapi doctor --agents`: each agent that is found is started, and ended again."""

import json
import os
import subprocess
import sys

import pytest

AGENT = """
import json, os, sys
open(os.environ["SEEN"], "a").write(os.getcwd() + "\\n")
for line in sys.stdin:
    call = json.loads(line)
    if call.get("method") == "initialize":
        answer = {"result": {"protocolVersion": 1, "agentInfo": {"name": "made", "version": "7.1"},
                             "authMethods": json.loads(os.environ.get("METHODS", "[]"))}}
    elif call.get("method") == "session/new" and "METHODS" not in os.environ:
        answer = {"result": {"sessionId": "s"}}
    else:
        open(os.environ["SEEN"], "a").write(call["method"] + "\\n")
        answer = {"error": {"code": -32000, "message": "Authentication required"}}
    print(json.dumps({"jsonrpc": "2.0", "id": call["id"], **answer}), flush=True)
"""
TERMINAL = [{"id": "t", "name": "Terminal", "type": "terminal", "args": ["login"]}]
KEY = [{"id": "key", "name": "Made API key", "type": "env_var", "vars": [{"name": "MADE_KEY"}]}]


@pytest.fixture
def findings(tmp_path):
    """The findings of `hapi doctor --agents` by name, with four made agents."""
    program = tmp_path / "agent.py"
    program.write_text(AGENT)
    made = [sys.executable, str(program)]
    agents = {
        "made": {"command": made},
        "locked": {"command": made, "environment": {"METHODS": json.dumps(TERMINAL)}},
        "keyed": {
            "command": made,
            "environment": {"METHODS": json.dumps(KEY), "MADE_KEY": "k"},
        },
        "dying": {"command": [sys.executable, "-c", "import sys; sys.exit('no licence')"]},
    }
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "settings.json").write_text(json.dumps({"agents": agents}))
    environ = {
        "PATH": os.path.dirname(sys.executable),
        "HOME": str(tmp_path),
        "HAPI_HOME": str(home),
        "SEEN": str(tmp_path / "seen"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "hapi", "doctor", "--agents", "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    return checks, made, (tmp_path / "seen").read_text()


def test_each_agent_says_its_version_and_whether_it_needs_a_login(findings):
    checks, made, seen = findings
    assert checks["made"]["finding"] == "good"
    assert "(made 7.1) opened a session in" in checks["made"]["text"]
    assert checks["locked"]["finding"] == "note"
    assert f"needs a login: run `{' '.join(made)} login`" in checks["locked"]["text"]
    assert checks["keyed"]["text"].endswith("sessions log in by “Made API key”")
    assert "no licence" in checks["dying"]["text"]
    assert "opened a session" in checks["demo"]["text"]
    assert "authenticate" not in seen
    directories = [line for line in seen.splitlines() if line.startswith("/")]
    assert len(set(directories)) == 3
    assert not any(map(os.path.exists, directories))
