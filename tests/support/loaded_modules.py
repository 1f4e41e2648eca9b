"""What a program of ours has loaded by the time its reactor runs, and what it imported in part."""

import json
import os
import subprocess
import sys

from attrs import frozen

SCRIPT = """
import builtins, json, os, sys
imports, real_import = {}, builtins.__import__

def note(name, importer, names):
    if name in sys.modules:
        module = sys.modules[name]
        if module is None or type(module).__name__ == "PartialModule":
            lacks = [] if module is None else [n for n in names if n not in vars(module)]
            imports.setdefault(name, {}).setdefault(importer, []).extend(lacks)

def watching_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    full = name
    if level:
        package = globals["__package__"].rsplit(".", level - 1)[0]
        full = f"{package}.{name}" if name else package
    note(full, importer, fromlist or ())
    for part in fromlist or ():
        note(f"{full}.{part}", importer, ())
    return real_import(name, globals, locals, fromlist, level)

def watch_calls(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "startRunning":
        sys.setprofile(None)
        loaded = [name for name, module in list(sys.modules.items()) if module is not None]
        os.write(1, json.dumps([loaded, imports]).encode())
        os._exit(0)

builtins.__import__ = watching_import
sys.setprofile(watch_calls)
from hapi.__main__ import main
main()
"""


@frozen
class Loaded:
    """`modules`: names of what is loaded.

    `imports`: for each module that was left out, or stood in for, while it was imported: who
    imported it, and the names that the stand-in lacked.
    """

    modules: frozenset[str]
    imports: dict[str, dict[str, list[str]]]


def loaded_by(words, home, **variables):
    """What `hapi WORDS` has loaded when its reactor starts, with a home of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HAPI_")}
    environ |= {
        "HAPI_HOME": str(home),
        "HAPI_API_URL": "http://127.0.0.1:1",
        "HAPI_LISTEN_PORT": "0",
        "CLI_API_TOKEN": "t",
        **variables,
    }
    run = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, *words],
        env=environ, cwd=home, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    assert run.stdout.endswith("]"), run.stderr[-4000:]
    modules, imports = json.loads(run.stdout[run.stdout.index('[["') :])
    return Loaded(frozenset(modules), imports)
