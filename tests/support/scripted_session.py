"""A session program for tests of the runner: announces itself as npm's do, then does what its
directory's name says.

`silent…`: never announces itself. `deaf…`: ignores SIGTERM. `exit-7…`: ends with that code before
announcing. `chatty…`: writes without end. `cut…`: cannot reach the runner and goes on.
`asks-spawn…`, `asks-stop…`: something it started calls the control API. `brood…`, `patient-brood…`:
leaves processes that left session and parent. `patient…`: announces itself until a runner hears it.
Everything else runs until SIGTERM; the file `end` in its directory ends it with the code written
there.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from http.client import HTTPConnection, HTTPException
from pathlib import Path


def announce(session_id: str) -> None:
    state = json.loads((Path(os.environ["HAPI_HOME"]) / "runner.state.json").read_text())
    connection = HTTPConnection("127.0.0.1", state["httpPort"], timeout=10)
    metadata = {
        "hostPid": os.getpid(),
        "startedBy": "runner",
        "path": os.getcwd(),
        "flavor": sys.argv[1],
    }
    body = json.dumps({"sessionId": session_id, "metadata": metadata})
    connection.request("POST", "/session-started", body, {"Content-Type": "application/json"})
    print("announced", connection.getresponse().status, flush=True)


def ask(path: str, directory: Path) -> None:
    """Call the control API from a process below this one, as a tool of an agent would."""
    state = json.loads((Path(os.environ["HAPI_HOME"]) / "runner.state.json").read_text())
    body = json.dumps({"directory": str(directory)})
    code = "import http.client,sys\nc=http.client.HTTPConnection('127.0.0.1',int(sys.argv[1]))\n"
    code += "c.request('POST',sys.argv[2],sys.argv[3],{'Content-Type':'application/json'})\n"
    code += "c.getresponse().read()"
    subprocess.Popen([sys.executable, "-c", code, str(state["httpPort"]), path, body])


def main() -> None:
    kind = Path.cwd().name
    if kind.startswith("exit-"):
        print("last words", flush=True)
        sys.exit(int(kind.split("-")[1]))
    if kind.startswith("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "brood" in kind:
        leave = "import os,time\nif os.fork()==0:\n os.setsid()\n"
        leave += " if os.fork()==0: time.sleep(600)\n os._exit(0)"
        subprocess.Popen([sys.executable, "-c", leave])
    argv = sys.argv[1:]
    known = (
        argv[argv.index("--existing-session-id") + 1]
        if "--existing-session-id" in argv
        else str(uuid.uuid4())
    )
    while kind.startswith("patient"):
        with contextlib.suppress(OSError, HTTPException, ValueError):
            announce(known)
            break
        time.sleep(0.05)  # our own sessions wait longer between their tries
    if not kind.startswith(("silent", "patient")):
        with contextlib.suppress(
            OSError if kind.startswith("cut") else ConnectionResetError
        ):  # killed before it answered us
            announce(known)
    if kind.startswith("asks-"):
        ask(
            {"spawn": "/spawn-session", "stop": "/stop"}[kind.split("-")[1]],
            Path("../plain-asked").absolute(),
        )
    while True:
        if kind.startswith("chatty"):
            print("x" * 4096, flush=True)
        if (end := Path("end")).exists() and (code := end.read_text()):  # empty: being written
            sys.exit(int(code))
        time.sleep(0.01)


main()
