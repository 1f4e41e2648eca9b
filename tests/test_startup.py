"""What a process loads (start-up time and memory count), and a start without the measures."""

import gc
import os
import subprocess
import sys
import time

import pytest
from twisted.internet.task import Clock

from hapi import startup
from hapi.startup import SWITCH


def loads(code):
    """Names of the modules that a fresh interpreter holds after `code`."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.split())


LINK = """\
from twisted.internet import reactor
import hapi.net.client.link, hapi.net.client.hub_client, hapi.net.client.versioned
"""
BLOCK_TLS = "from hapi.startup import block_tls_imports\n"


def test_the_link_loads_neither_wamps_sessions_nor_native_helpers_nor_http():
    loaded = loads(LINK)
    for absent in (
        "autobahn.twisted",
        "autobahn.twisted.wamp",
        "autobahn.wamp.protocol",
        "autobahn.nvx",
        "cbor2",
        "click",
        "treq",
        "klein",
        "werkzeug",
        "twisted.web.client",
    ):
        assert absent not in loaded
    assert "hapi.net.client.tls" not in loaded


def test_what_autobahn_is_not_to_take_can_be_loaded_afterwards():
    assert "click" in loads(f"{LINK}\nimport click")


def test_a_hub_without_ssl_logs_people_in():
    code = """
from hapi.startup import block_unused_imports
assert block_unused_imports("http://127.0.0.1:1")
from hapi.hub.access.auth import Principal, TokenIssuer
issuer = TokenIssuer("a-token", b"x" * 32)
token = issuer.issue_web_token(Principal("default"), 1000.0)
assert issuer.read_web_token(token, 1001.0) == Principal("default")
"""
    assert "jwt" in loads(code)


def test_the_options_of_a_hub_load_no_part_of_twisted_that_loads_openssl():
    """They tell whether the hub serves TLS."""
    assert not {"twisted.internet.tcp", "OpenSSL", "ssl"} & loads("import hapi.hub.options")


CORE = "from hapi.startup import import_twisted_core\nimport_twisted_core()\n"
ASYNCIO = ("asyncio", "concurrent.futures", "html.entities", "http.client", "urllib.request")


@pytest.mark.parametrize(
    "module", ["hapi.session.main", "hapi.cli.runner.foreground", "hapi.cli.hub.foreground"]
)
def test_what_a_program_loads_before_it_knows_its_hub_is_without_twisted(module):
    """Once Twisted is loaded, nothing can keep asyncio and ssl out any more."""
    assert not {"twisted", "zope.interface", *ASYNCIO} & loads(f"import {module}")


def test_a_runner_loads_nothing_of_openssl_before_it_knows_its_hub():
    early = (
        "hapi.runner.config.options, hapi.runner.handoff.descriptors, hapi.runner.handoff.streams"
    )
    loaded = loads(f"import hapi.cli.runner.foreground\n{CORE}\nimport {early}")
    assert not {"ssl", "_ssl", "_hashlib", *ASYNCIO} & loaded


def test_a_runner_takes_its_lock_before_it_loads_options_and_reactor():
    """The lock has to settle for a quarter of a second, and the rest is loaded meanwhile."""
    loaded = loads(f"import hapi.cli.runner.foreground\n{CORE}\nimport hapi.runner.lock.early")
    late = {"hapi.runner.config.options", "hapi.process.system", "twisted.internet.base"}
    assert not late & loaded


def test_twisted_is_loaded_without_asyncio_and_the_http_of_python():
    loaded = loads(f"{CORE}{LINK}")
    assert "twisted.internet.defer" in loaded
    assert not set(ASYNCIO) & loaded
    assert not {"autobahn.wamp.message", "autobahn.wamp", "autobahn.wamp.websocket"} & loaded
    plain = loads(f"import os\nos.environ[{SWITCH!r}] = 'plain'\n{CORE}{LINK}")
    assert {*ASYNCIO, "autobahn.wamp.message"} <= plain


def test_what_twisted_is_loaded_without_works_when_it_is_used_later():
    """`_NoFuture` and the like are Twisted's alone: everybody else gets the real modules."""
    code = f"""{CORE}{LINK}
import warnings
warnings.simplefilter("ignore")
import asyncio, html, http.cookiejar
from twisted.internet.defer import Deferred, succeed
from twisted.python import compat
assert compat.escape("<'") == html.escape("<'") == "&lt;&#x27;"
assert compat.cookielib is http.cookiejar and list(http.cookiejar.CookieJar()) == []
async def two():
    return await succeed(1) + 1
assert Deferred.fromCoroutine(two()).result == 2
loop = asyncio.new_event_loop()
future = Deferred.fromCoroutine(two()).asFuture(loop)
assert loop.run_until_complete(future) == 2
import autobahn.wamp, autobahn.twisted.websocket
assert autobahn.wamp.register
"""
    assert "autobahn.wamp.message" in loads(code)


SESSION = """\
import hapi.__main__, hapi.startup
hapi.startup.discard_generated_source()
hapi.startup.import_common_modules()
import hapi.session.main
hapi.startup.block_unused_imports("http://127.0.0.1:1")
with hapi.startup.lighter_libraries():
    hapi.startup.import_twisted_core()
    import hapi.session.process
from twisted.internet import reactor
import hapi.session.pty.terminals, hapi.session.agent.tree
"""


def test_what_a_session_is_without_works_when_it_is_used_later():
    code = f"""{SESSION}
import logging, typing_extensions, zipfile, twisted.logger, twisted.python.zippath
import pickle, urllib.parse, msgspec, autobahn.util, autobahn.websocket.protocol
from twisted.application.service import Application, IServiceMaker
from twisted.plugin import getPlugins
import twisted.plugins
assert typing_extensions.deprecated and typing_extensions.TypeVar("T", default=int)
assert "twistd" not in [plugin.tapname for plugin in getPlugins(IServiceMaker)]
assert Application("a") is not None
said = []
handler = logging.Handler()
handler.emit = said.append
logging.getLogger("name").addHandler(handler)
observer = twisted.logger.STDLibLogObserver("name")
observer(dict(log_level=twisted.logger.LogLevel.warn, log_format="one"))
assert said[0].getMessage() == "one" and said[0].levelno == logging.WARNING
autobahn.websocket.log.warning("two")
assert isinstance(msgspec.inspect.type_info(int), msgspec.inspect.IntType)
assert msgspec.json.schema(list[int])["items"] == dict(type="integer")
assert autobahn.websocket.protocol.hyperlink.URL.from_text("http://a/b").path == ("b",)
assert urllib.parse.urlsplit("http://[::1]:1").port == 1
assert autobahn.util.subprocess.run(["true"]).returncode == 0
assert pickle.loads(pickle.dumps([1])) == [1]
assert twisted.python.reflect.pickle.dumps is pickle.dumps
"""
    assert {"hyperlink", "zipfile", "twisted.python.modules", "subprocess"} <= loads(code)


def test_the_source_that_attrs_generates_is_not_kept():
    code = """
import sys, linecache
from hapi.startup import discard_generated_source
discard_generated_source()
from attrs import frozen
@frozen
class Point:
    x: int
assert repr(Point(1)) == "Point(x=1)" and Point(1) == Point(1)
assert not [name for name in linecache.cache if "attrs" in name]
assert linecache.getline(sys.modules["hapi.startup"].__file__, 1).startswith('\"\"\"')
assert linecache.cache
linecache.clearcache()
"""
    assert "attr" in loads(code)


def test_the_pure_half_loads_no_twisted():
    modules = "engineio, socketio, channel, token, rpc, versioned"
    loaded = loads(f"from hapi.protocol import {modules}")
    assert not {name for name in loaded if name.split(".")[0] in ("twisted", "autobahn", "zope")}


def test_openssl_stays_out_for_plain_http():
    loaded = loads(
        f"{BLOCK_TLS}assert block_tls_imports('http://127.0.0.1:3006')\n{LINK}\nimport treq"
    )
    assert "OpenSSL.SSL" not in loaded
    assert "service_identity" not in loaded


@pytest.mark.parametrize("urls", ["'https://hub.example'", "'http://a', 'https://b'", ""])
def test_openssl_stays_for_https(urls):
    assert "OpenSSL.SSL" in loads(
        f"from hapi.startup import block_tls_imports\nassert not block_tls_imports({urls})\n{LINK}"
    )


def test_nothing_changes_once_there_is_a_reactor():
    loads(f"{LINK}\n{BLOCK_TLS}assert not block_tls_imports('http://a')\nimport OpenSSL")


def test_a_session_over_plain_http_loads_nothing_of_openssl():
    code = "import hapi.session.main\nfrom hapi.startup import block_unused_imports\nassert block_unused_imports('http://127.0.0.1:3006')\n"
    run = f"{code}from hapi.session.process import SessionProcess\n{LINK}\n"
    run += "import treq, hapi.session.agent.tree, hapi.session.demo.agent"
    look = "import sys\nloaded = (name for name, module in sys.modules.items() if module)\n"
    look += "sys.stdout.write(' '.join(loaded))"
    output = subprocess.run(
        [sys.executable, "-c", f"{run}\n{look}"], capture_output=True, text=True, check=True
    ).stdout
    assert not {"OpenSSL", "ssl", "_ssl", "_hashlib", "cbor2", "click"} & set(output.split())


@pytest.mark.parametrize("start", ["", "plain"])
@pytest.mark.parametrize("less", ["block_tls_imports", "block_unused_imports"])
def test_a_link_and_the_rest_client_work_without_openssl_and_with_a_plain_start(less, start):
    code = f"from hapi.startup import {less}\n{less}('http://127.0.0.1:1')"
    code += """
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from hapi.net.client.hub_client import HubClient, HubUnreachable
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
from hapi.settings import HubAccess
class Desk:
    def connect(self, peer, auth): ...
    def event(self, peer, name, args, ack): ack(*args)
    def disconnected(self, peer, reason): ...
server, root = SocketServer(reactor, {"/cli": Desk()}), Resource()
root.putChild(b"socket.io", server.resource)
port = reactor.listenTCP(0, LimitedSite(root, reactor), interface="127.0.0.1")
access = HubAccess(f"http://127.0.0.1:{port.getHost().port}", "t")
link = HubLink(reactor, access, {}, RpcTable("m"))
async def go():
    link.startService()
    assert await link.call("echo", "x" * 5000) == "x" * 5000
    try:
        await HubClient(reactor, access).session("s")
    except Exception as problem:
        print(problem)
    await link.leave()
    await server.stop()
Deferred.fromCoroutine(go()).addBoth(lambda result: (print(result), reactor.stop()))
reactor.run()
"""
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, SWITCH: start},
    )  # fmt: skip
    assert "the hub refused: no reason given (HTTP 404)" in said.stdout
    assert said.stdout.rstrip().endswith("None")


def test_the_twisted_binding_of_autobahn_can_be_loaded_whole_afterwards():
    code = f"{LINK}\nimport autobahn.twisted\nprint(autobahn.twisted.ApplicationSession)"
    assert "autobahn.twisted.wamp" in loads(code)


def test_the_addresses_of_routes_are_built_by_what_is_compiled_for_the_first():
    code = """
from klein import Klein
from hapi.startup import defer_url_builders
from werkzeug.routing import Rule
compiled = []
def compile_builder(rule, append_unknown=True, real=Rule._compile_builder):
    compiled.append(append_unknown)
    return real(rule, append_unknown)
Rule._compile_builder = compile_builder
defer_url_builders()
defer_url_builders()
app = Klein()
app.route("/sessions/<rule>/<path:file>", endpoint="file")(lambda request, rule, file: None)
assert compiled == []
urls = app.url_map.bind("host")
assert urls.build("file", dict(rule="a b", file="c/d", all=1)) == "/sessions/a%20b/c/d?all=1"
assert urls.build("file", dict(rule="e", file="f")) == "/sessions/e/f"
assert urls.match("/sessions/e/f") == ("file", dict(rule="e", file="f"))
assert compiled == [True]
"""
    loads(code)


def test_a_werkzeug_that_builds_addresses_otherwise_is_left_as_it_is():
    code = """
from hapi.startup import defer_url_builders
from werkzeug.routing import Rule
del Rule._compile_builder
defer_url_builders()
assert not hasattr(Rule, "_compile_builder")
"""
    loads(code)


# --- one switch turns everything off


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setenv(SWITCH, "plain")


def test_a_plain_start_loads_what_the_libraries_load():
    code = f"import os\nos.environ[{SWITCH!r}] = 'plain'\n"
    code += "from hapi.startup import block_unused_imports"
    loaded = loads(f"{code}\nassert not block_unused_imports('http://a')\n{LINK}")
    assert {"OpenSSL.SSL", "autobahn.twisted", "autobahn.twisted.wamp", "ssl"} <= loaded


def test_a_plain_start_leaves_collection_and_switching_as_python_has_them(plain):
    thresholds = gc.get_threshold()
    startup.defer_garbage_collection()
    assert gc.get_threshold() == thresholds
    frozen, usual = gc.get_freeze_count(), sys.getswitchinterval()
    startup.resume_garbage_collection()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, frozen)
    with startup.quick_thread_switches():
        assert sys.getswitchinterval() == usual


def test_threads_switch_quickly_only_while_modules_are_loaded():
    usual = sys.getswitchinterval()
    with startup.quick_thread_switches():
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual


@pytest.mark.parametrize(("value", "clock"), [("", time.monotonic), ("plain", time.time)])
def test_the_reactors_clock_is_monotonic_unless_the_start_is_plain(monkeypatch, value, clock):
    monkeypatch.setenv(SWITCH, value)
    reactor = Clock()
    reactor.seconds = time.time
    startup.use_monotonic_time(reactor)
    assert reactor.seconds is clock


def test_a_plain_process_exits_by_the_interpreters_own_way(plain):
    with pytest.raises(SystemExit) as exit:
        startup.exit_process(3)
    assert exit.value.code == 3


@pytest.mark.parametrize("metrics", ["hapi.hub.http.metrics", "hapi.runner.control.metrics"])
def test_a_process_without_ssl_has_metrics(metrics):
    code = """
from hapi.startup import block_unused_imports
assert block_unused_imports("http://127.0.0.1:1")
import http.client, urllib.request
"""
    assert metrics in loads(f"{code}\nimport {metrics}")
