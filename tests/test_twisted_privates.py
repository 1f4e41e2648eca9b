"""The private parts of libraries that HAPI uses; a test says which is gone."""

import ast
import importlib
from collections import defaultdict
from pathlib import Path

import pytest

import hapi

ROOT = Path(hapi.__file__).parent
PRIVATES = {  # private name: (class that has it, who uses it, what for)
    "_preexistingSocket": (
        "twisted.internet.tcp.Port",
        "runner/control/listeners.py",
        "a Unix socket that another process has bound is listened on",
    ),
    "_shouldShutdown": (
        "twisted.internet.tcp.Port",
        "runner/control/listeners.py",
        "a socket that was handed over is closed without a shutdown for both processes",
    ),
    "_handlingRequest": (
        "twisted.web.http.HTTPChannel",
        "net/server/site.py",
        "the deadline for a request's body does not apply while the request is answered",
    ),
    "_addCACertsToContext": (
        "twisted.internet._sslverify.OpenSSLDefaultPaths",
        "net/client/tls.py",
        "the reason why a certificate was refused is read from OpenSSL",
    ),
    "_dataReceived": (
        "autobahn.websocket.protocol.WebSocketProtocol",
        "net/common/websocket.py",
        "data is handed on without formatting a debug message for each piece",
    ),
    "_closeConnection": (
        "autobahn.twisted.websocket.WebSocketAdapterProtocol",
        "net/common/websocket.py",
        "a connection is aborted by the way that Autobahn aborts it",
    ),
    "_invalid_payload": (
        "autobahn.websocket.protocol.WebSocketProtocol",
        "net/common/websocket.py",
        "text that is not UTF-8 is answered with the close code for it",
    ),
    "_isMessageCompressed": (
        "autobahn.websocket.protocol.WebSocketProtocol",
        "net/common/websocket.py",
        "what a compressed message becomes counts before its client is authenticated",
    ),
    "_compile_builder": (
        "werkzeug.routing.Rule",
        "startup/__init__.py",
        "what builds addresses of routes is compiled when somebody asks for one",
    ),
    "_ident": (
        "psutil.Process",
        "process/portable.py, process/portable_holder.py",
        "a process is told from a later one with the same pid",
    ),
    "_undo_stack": (
        "prompt_toolkit.buffer.Buffer",
        "session/terminal/editor.py",
        "what undo keeps of a long line is bounded",
    ),
}
# Python's own: documented, the name of a module, or meant for event loops (asyncio.events.__all__).
OTHERS = {"_asdict", "_ctypes", "_exit", "_get_running_loop", "_set_running_loop"}


def private_names() -> dict[str, set[str]]:
    """Private names that HAPI uses and does not define: name → the modules that use it."""
    defined, used = set(), defaultdict(set)
    for path in sorted(ROOT.rglob("*.py")):
        where = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    defined.add(name)
                case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                    defined.add(name)
                case ast.Attribute(ast.Name("self"), name, ast.Store()):
                    defined.add(name)
                case ast.Attribute(attr=name):
                    used[name].add(where)
                case ast.ImportFrom(module=module, names=names):
                    for name in [*(module or "").split("."), *(each.name for each in names)]:
                        used[name].add(where)
                case ast.Import(names=names):
                    for name in [part for each in names for part in each.name.split(".")]:
                        used[name].add(where)
    implemented = {"_addCACertsToContext"}  # defined as well: it is an interface of Twisted's
    return {
        name: modules
        for name, modules in used.items()
        if name.startswith("_")
        and not name.startswith("__")
        and (name not in defined or name in implemented)
    }


def source_of(dotted: str) -> str:
    module, _, name = dotted.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    files = [importlib.import_module(each.__module__).__file__ for each in found.__mro__[:-1]]
    return "\n".join(Path(str(file)).read_text() for file in files)


@pytest.mark.parametrize("name", PRIVATES)
def test_a_private_name_that_is_used_still_exists(name):
    owner, user, purpose = PRIVATES[name]
    assert name in source_of(owner), f"{owner}.{name} is gone; {user} needs it: {purpose}"


def test_every_private_name_that_is_used_is_listed():
    used = private_names()
    listed = {name: set(users.split(", ")) for name, (_, users, _) in PRIVATES.items()}
    assert {name: used[name] for name in used if name not in OTHERS} == listed


def test_a_delayed_call_has_the_attributes_by_which_it_is_moved_to_another_clock():
    """`hapi.startup.use_monotonic_time` sets both; Twisted documents neither."""
    from twisted.internet.base import DelayedCall

    call = DelayedCall(1.0, print, (), {}, print, print, seconds=lambda: 0.5)
    assert (call.time, call.seconds()) == (1.0, 0.5)
