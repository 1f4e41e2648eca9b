"""What session, hub and runner leave out of their imports (`hapi.startup`), and that it fits.

A stand-in has the names that libraries import. Here the real programs load what they load, and it
is recorded who imported a stand-in and what it lacked: a library that imports more after an upgrade
fails here, before it takes memory or misses something in a program that runs.
"""

import subprocess
import sys
from functools import cache

import pytest

from hapi.startup import SWITCH
from tests.support.loaded_modules import loaded_by

WORDS = {
    "session": ("demo", "--hapi-starting-mode", "remote", "--started-by", "runner"),
    "hub": ("hub",),
    "runner": ("runner", "start-sync"),
}
OF_ALL = (
    *("OpenSSL", "cryptography", "ssl", "_hashlib", "service_identity", "asyncio"),
    *("attr.validators", "bz2", "lzma", "dis", "tokenize", "platform", "pickle", "subprocess"),
    *("html", "html.entities", "typing_extensions", "zipfile", "msgspec.inspect", "_cffi_backend"),
    *("twisted.python.modules", "twisted.persisted.sob", "cbor2", "_nvx_utf8validator"),
    *("autobahn.twisted", "autobahn.wamp", "autobahn.wamp.types", "autobahn.wamp.websocket"),
    *("http.client", "urllib.request"),
)
LEFT_OUT = {
    "session": (
        *(*OF_ALL, "ast", "click", "ctypes", "email.utils", "hyperlink", "idna", "ipaddress"),
        *("locale", "logging", "pprint", "tempfile"),
    ),
    "hub": (
        *(*OF_ALL, "click", "ctypes", "twisted.spread.pb", "werkzeug.serving", "werkzeug.test"),
    ),
    "runner": (*OF_ALL, "ast", "click", "logging", "pprint", "twisted.spread.pb"),
}
# Modules of ours, and what came with them, that a plain start does not load either.
NOT_LOADED = {
    "session": (
        *("hapi.process.launch", "hapi.session.terminal.console", "difflib", "encodings.idna"),
        *("stringprep", "treq", "klein", "twisted.web.client"),
        *("prompt_toolkit", "rich", "pygments", "hapi.session.terminal.factory"),
    ),
    "hub": ("psutil", "zoneinfo", "segno", "treq", "encodings.idna", "hapi.runner.config.options"),
    "runner": ("sqlite3", "zoneinfo", "encodings.idna", "hapi.hub.options"),
}
AUTOBAHN = {"autobahn.websocket.protocol"}
# Who imports a module that is left out, in all three programs together. Another name here after an
# upgrade means: read how that library uses the module, and whether the stand-in serves it.
IMPORTERS = {
    "OpenSSL": {"autobahn.util", "twisted.internet.ssl"},
    "_hashlib": {"hashlib", "hmac"},
    "_nvx_utf8validator": {"autobahn.websocket"},
    "ast": {"inspect"},
    "asyncio": {"twisted.internet.defer", "txaio.tx"},
    "attr.validators": {"attr"},
    "attrs.validators": {"attrs"},
    "autobahn.wamp.types": {
        *AUTOBAHN,
        *("autobahn.twisted.util", "autobahn.twisted.websocket", "autobahn.websocket.interfaces"),
    },
    "autobahn.wamp.websocket": {"autobahn.twisted.websocket"},
    "bz2": {"autobahn.websocket.compress", "autobahn.websocket.compress_bzip2", "shutil"},
    "click": {"autobahn.util"},
    "ctypes": {"hapi.runner.lock.files", "twisted.python.win32"},
    "dis": {"inspect", "twisted.python.deprecate"},
    "html": {"twisted.python.compat", "twisted.web._template_util", "twisted.web.server"},
    "hyperlink": AUTOBAHN,
    "ipaddress": {"urllib.parse"},
    "logging": {"autobahn.websocket", "twisted.logger._stdlib", "werkzeug._internal"},
    "lzma": {"shutil"},
    "msgspec.inspect": {"msgspec", "msgspec._json_schema"},
    "pickle": {*AUTOBAHN, "twisted.plugin", "twisted.python.reflect"},
    "platform": {
        *("attr._compat", "autobahn.websocket.compress", "twisted.python.compat", "uuid"),
        "hapi.runner.uplink.machine",
    },
    "pprint": {*AUTOBAHN, "autobahn.util", "autobahn.websocket.types"},
    "subprocess": {"autobahn.util"},
    "tokenize": {"inspect", "linecache"},
    "twisted.persisted.sob": {"twisted.application.service"},
    "twisted.python.modules": {"twisted.plugin"},
    "twisted.spread.pb": {"twisted.web.server"},
    "typing_extensions": {
        *("msgspec._utils", "twisted.internet._signals", "twisted.internet.defer"),
        *("twisted.internet.endpoints", "twisted.internet.process", "twisted.internet.protocol"),
        *("twisted.internet.threads", "twisted.logger._interfaces", "twisted.protocols.policies"),
        *("twisted.python.deprecate", "twisted.python.threadpool", "twisted.web._flatten"),
    },
    "urllib.request": {"xml.sax.saxutils"},
    "werkzeug.serving": {"werkzeug"},
    "werkzeug.test": {"werkzeug"},
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What a program has loaded, by its name and the value of HAPI_STARTUP."""

    @cache
    def load(program, start=""):
        return loaded_by(WORDS[program], tmp_path_factory.mktemp("home"), **{SWITCH: start})

    return load


@pytest.mark.parametrize("program", WORDS)
def test_a_program_loads_no_library_of_which_it_uses_nothing(loaded, program):
    lean, plain = loaded(program).modules, loaded(program, "plain").modules
    assert set(LEFT_OUT[program]) - (plain - lean) == set()
    assert set(NOT_LOADED[program]) & lean == set()


@pytest.mark.parametrize("program", WORDS)
def test_a_stand_in_has_all_names_that_are_imported_from_it(loaded, program):
    imports = loaded(program).imports
    assert [(name, who) for name, users in imports.items() for who in users if users[who]] == []


def test_those_who_import_what_is_left_out_are_known(loaded):
    found = {}
    for program in WORDS:
        for name, users in loaded(program).imports.items():
            found.setdefault(name, set()).update(users)
    if sys.version_info >= (3, 13):  # linecache and uuid import these when they use them
        found["tokenize"].add("linecache")
        found["platform"].add("uuid")
    assert found == IMPORTERS


def test_a_stand_in_has_no_name_that_the_real_module_lacks():
    code = """
import importlib
from hapi.startup.lazy_modules import parts_of_autobahn, parts_of_libraries, parts_of_python
for part in (*parts_of_python(), *parts_of_libraries(), *parts_of_autobahn()):
    names = {name for name, value in vars(part).items() if value and not name.startswith("__")}
    real = importlib.import_module(part.__name__)
    assert type(real).__name__ == "module", part
    assert not names - set(dir(real)), (part, names - set(dir(real)))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_constants_of_stand_ins_are_those_of_the_real_modules():
    code = """
import dis, logging, platform
from autobahn.wamp.types import TransportDetails
from hapi.startup import lazy_modules
if lazy_modules.sys.version_info[:2] in lazy_modules.PYTHONS_WITH_THESE_FLAGS:
    flags = {1 << bit: name for bit, name in enumerate(lazy_modules.COMPILER_FLAGS)}
    assert flags == dis.COMPILER_FLAG_NAMES
for name, level in lazy_modules.LOG_LEVELS.items():
    assert logging.getLevelName(level) == name
for name, value in vars(lazy_modules._TransportDetails).items():
    if name.startswith("CHANNEL_"):
        assert getattr(TransportDetails, name) == value
part = lazy_modules._part_of_platform()
assert part.system() == platform.system()
assert part.python_implementation() == platform.python_implementation()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_hub_and_runner_are_without_works_when_it_is_used_later(tmp_path):
    code = """
import os, sys
from hapi import startup
startup.discard_generated_source()
startup.import_common_modules()
startup.import_twisted_core()
with startup.lighter_libraries():
    import klein, twisted.web.server, twisted.internet.address, twisted.python.deprecate
    import hapi.net.common.websocket
left_out = {"ast", "dis", "tokenize", "attr.validators", "bz2", "werkzeug.test", "http.client"}
print(*left_out & set(sys.modules) - {"ast"})
import attr, inspect, linecache, shutil, uuid, werkzeug
assert inspect.getsource(uuid.UUID).startswith("class UUID")
assert inspect.CO_COROUTINE and inspect.ismodule(inspect.ast)
assert linecache.getline(startup.__file__, 1).startswith('\"\"\"')
archive = shutil.make_archive("archive", "bztar", os.getcwd())
assert os.path.getsize(archive)
shutil.make_archive("another", "xztar", os.getcwd())
try:
    twisted.internet.address.IPv4Address("SCTP", "127.0.0.1", 1)
except ValueError as problem:
    assert problem.args[0].startswith("'type' must be in ['TCP', 'UDP']"), problem
    assert problem.args[2:] == (["TCP", "UDP"], "SCTP")
answer = werkzeug.Client(lambda environ, start: [start("200 OK", []) and b"" or b"yes"]).get("/")
assert answer.get_data() == b"yes"
list(twisted.python.deprecate.findlinestarts(compile("1", "file", "exec")))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (said.returncode, said.stdout) == (0, "\n"), said.stderr
