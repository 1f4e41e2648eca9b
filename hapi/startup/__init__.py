"""Start-up measures: each makes a process start sooner or stay smaller, with its gain beside it.

They are for programs that own their process. `HAPI_STARTUP=plain` in the environment turns all of
them off: every program then works the same, but starts later and takes more memory. This module
imports no Twisted. Figures are for Python 3.11 on 2 cores.

Imports inside functions stay where they are used; `tests/test_startup.py` lists what a process must
not load.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import Any, NoReturn

from hapi.startup.lazy_modules import (
    part_of_asyncio,
    parts_of_autobahn,
    parts_of_libraries,
    parts_of_python,
    substituted_modules,
)

SWITCH = "HAPI_STARTUP"  # the environment variable; "plain" turns everything off
BUILT_IN_HASHES = ("_sha1", "_md5")  # Python's own; some distributions leave them to OpenSSL
TLS_MODULES = ("OpenSSL", "ssl", "_ssl", "_hashlib")
# Python's modules that leave out a name where there is no ssl.
LESS_WITHOUT_TLS = {"http.client": "HTTPSConnection", "urllib.request": "HTTPSHandler"}
# Optional dependencies of txaio, WAMP and WebSocket.
NOT_NEEDED_BY_AUTOBAHN = ("click", "cbor2", "_nvx_utf8validator", "_nvx_xormasker")
USUAL_THRESHOLDS = gc.get_threshold()
SWITCH_INTERVAL = 0.0005  # seconds between two threads' turns while modules are loaded


def is_plain() -> bool:
    """Whether the measures of this module are turned off."""
    return os.environ.get(SWITCH) == "plain"


# --- blocked imports ----------------------------------------------------------------------------


def block_tls_imports(*urls: str) -> bool:
    """Keep OpenSSL out of this process if all `urls` are plain http; whether that was done.

    Saves 50 ms and 8 MB (PSS). Twisted imports OpenSSL with the reactor and runs without it where
    it is not installed; None in `sys.modules` is Python's way to say that a module does not exist.
    Nothing changes once a reactor is imported.
    """
    is_loaded = (
        "OpenSSL" in sys.modules
        or "twisted.internet.reactor" in sys.modules
        or "twisted.internet.tcp" in sys.modules
    )
    if is_plain() or is_loaded or not urls or not all(url.startswith("http://") for url in urls):
        return False
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]
    return True


def allow_tls_imports() -> None:
    """Undo what blocks OpenSSL, for a process that is told of a hub with https later, and for
    libraries that load it whether they use it or not."""
    for name in TLS_MODULES:
        if sys.modules.get(name, name) is None:
            del sys.modules[name]
    for name, left_out in LESS_WITHOUT_TLS.items():
        if name in sys.modules and not hasattr(sys.modules[name], left_out):
            del sys.modules[name]


def block_unused_imports(*urls: str) -> bool:
    """Block also what else a program over plain http loads but never uses; whether that was done.

    Saves 5 MB more, of a session's PSS and of a hub's RSS. Python has hashes of its own besides
    OpenSSL's; asyncio and http.client work without ssl.
    """
    if not block_tls_imports(*urls):
        return False
    unused = ["ssl", "_ssl"]
    if all(find_spec(name) for name in BUILT_IN_HASHES):
        unused.append("_hashlib")
    for name in unused:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    return True


def discard_generated_source() -> None:
    """Do not keep the source of the methods that attrs generates for each class.

    Saves 0.6 MB (PSS). attrs enters it in `linecache`, for tracebacks and debuggers.
    """
    if is_plain():
        return
    with substituted_modules(*parts_of_python()):
        import linecache
    linecache.cache = _CacheOfFiles(linecache.cache)


def import_common_modules() -> None:
    """Import what all programs use, without what it brings along and seldom needs.

    Saves 1.3 MB (PSS) of a session: ast 0.3, which inspect needs to find the source of a class, and
    dis 0.1; ipaddress 0.2, which urllib.parse needs for addresses in brackets; the validators of
    attrs 0.2; tokenize 0.15; bz2 and lzma, for archives of shutil, 0.15; platform 0.1. What is used
    of these later is loaded then.
    """
    if is_plain():
        return
    with substituted_modules(*parts_of_python()):
        import inspect
        import shutil
        import urllib.parse
        import uuid

        import attrs

        del attrs, inspect, shutil, urllib, uuid


class _CacheOfFiles(dict[Any, Any]):
    """The cache of `linecache` without what attrs generates."""

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if isinstance(key, str) and key.startswith("<attrs generated"):
            return default
        return super().setdefault(key, default)


def import_twisted_core() -> None:
    """Import `twisted.internet.defer` without asyncio and with what it brings along.

    Saves 2.8 MB (PSS), 33 modules and 40 ms. Twisted takes one function and two classes from
    asyncio, for programs that use both, and one function from html; http.cookiejar, which brings
    http.client, urllib.request and email, is a deprecated name of Twisted's and is loaded when
    somebody uses it. Does nothing once Twisted is loaded.
    """
    if is_plain() or "twisted.python.compat" in sys.modules:
        return
    import http

    with lighter_libraries(), substituted_modules(part_of_asyncio()):
        if "http.cookiejar" not in sys.modules and (spec := find_spec("http.cookiejar")):
            assert spec.loader is not None
            spec.loader = LazyLoader(spec.loader)
            cookiejar = sys.modules[spec.name] = module_from_spec(spec)
            spec.loader.exec_module(cookiejar)
            http.__dict__["cookiejar"] = cookiejar
        import twisted.internet.defer

        del twisted


@contextmanager
def lighter_libraries() -> Iterator[None]:
    """Import Twisted and msgspec without modules of which they use a name or two, or none.

    Saves 1.3 MB (PSS) of a session: typing_extensions 0.3, Twisted's search for plugins with
    zipfile 0.3, logging and pickle 0.2 each, msgspec.inspect and ctypes 0.1 each; of a hub's RSS
    2.7 MB, with Perspective Broker and html. What is used of these later is loaded then.
    """
    if is_plain():
        yield
        return
    with substituted_modules(*parts_of_libraries()):
        yield


@contextmanager
def trimmed_autobahn() -> Iterator[None]:
    """Import `autobahn.twisted.websocket` without WAMP, cryptography, colours and native helpers.

    Saves 4.3 MB (PSS), 9 MB (RSS) and 46 modules, and another 0.9 MB (PSS) without hyperlink and
    subprocess. `autobahn.twisted` and `autobahn.wamp` import all of WAMP in their `__init__`; here
    the packages are entered in `sys.modules` without running that, so that their submodules can be
    imported alone. WAMP over WebSocket, of which the binding derives classes, gets empty ones.
    """
    if is_plain() or "autobahn.twisted" in sys.modules or "autobahn.wamp" in sys.modules:
        yield
        return
    os.environ.setdefault("AUTOBAHN_USE_NVX", "0")  # read once, when autobahn is imported
    with hidden_modules(*NOT_NEEDED_BY_AUTOBAHN):
        import autobahn

        packages = [ModuleType("autobahn.twisted"), ModuleType("autobahn.wamp")]
        for package in packages:
            name = package.__name__.rpartition(".")[2]
            package.__path__ = [os.path.join(path, name) for path in autobahn.__path__]
        # Whoever imports the packages later gets the whole of them; the loaded submodules stay.
        with substituted_modules(*packages, *parts_of_autobahn()):
            yield


@contextmanager
def hidden_modules(*names: str) -> Iterator[None]:
    """Inside, those of `names` that are not loaded cannot be imported."""
    if is_plain():
        yield
        return
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]


def defer_url_builders() -> None:
    """Have Werkzeug compile what builds the address of a route when somebody asks for one.

    Saves 50 ms of a hub's start and 6 ms of a runner's. Werkzeug writes two functions for each
    route, of which a hub has 108, and nothing of ours has an address built.
    """
    from werkzeug.routing import Rule

    compile_builder: Any = getattr(Rule, "_compile_builder", None)  # private: it may go
    if is_plain() or compile_builder is None or compile_builder.__module__ == __name__:
        return

    def compile_later(rule: Rule, append_unknown: bool = True) -> Any:
        compiled: Any = None

        def build(rule: Rule, /, **values: Any) -> Any:
            nonlocal compiled
            if compiled is None:
                compiled = compile_builder(rule, append_unknown)
            return compiled(rule, **values)

        return build

    Rule._compile_builder = compile_later  # type: ignore[assignment, method-assign]


# --- garbage collection, threads and exit -------------------------------------------------------


def defer_garbage_collection() -> None:
    """Until `resume_garbage_collection`, collect only young garbage, and less often.

    What is loaded stays, so looking at it again is in vain: saves 9 % of the CPU time of a
    session's start. The garbage of imports (attrs makes each class twice) is collected young; left
    to the end it costs 1.7 MB (PSS), because new objects lie between by then.
    """
    if not is_plain():
        gc.set_threshold(5000, 1000, 1000)


def resume_garbage_collection() -> None:
    """Collect as usual, but leave out everything that is loaded by now.

    A full collection right afterwards takes 0.003 ms instead of 62 ms (on a busy machine).
    """
    if not is_plain():
        gc.freeze()
        gc.set_threshold(*USUAL_THRESHOLDS)
        return_free_memory()


def return_free_memory() -> None:
    """Return the free parts of the C library's heap to the system. Takes some 0.3 ms.

    Saves 0.9 MB (PSS) after a start. glibc alone has malloc_trim(3); other C libraries return
    memory by themselves.
    """
    if is_plain():
        return
    try:
        import _ctypes  # ctypes itself would take more memory than is saved

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        _ctypes.call_function(_ctypes.dlsym(library, "malloc_trim"), (0,))
    except (ImportError, OSError):
        return


@contextmanager
def quick_thread_switches() -> Iterator[None]:
    """Give other threads their turn after 0.5 ms instead of 5 ms.

    Saves 50 ms of the early registration, which runs beside the imports.
    """
    usual = sys.getswitchinterval()
    if not is_plain():
        sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def exit_process(exit_code: int) -> NoReturn:
    """Flush the output and exit without the interpreter's clean-up.

    Saves 16 % of the CPU time that a start and an exit take together.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    if is_plain():
        sys.exit(exit_code)
    os._exit(exit_code)


# --- time ---------------------------------------------------------------------------------------


def use_monotonic_time(reactor: Any) -> None:
    """Make `reactor` measure delays with the monotonic clock, which clock changes do not move.

    Twisted measures them with `time.time`: a clock set back by an hour delays every timer by an
    hour, a clock set forward fires them all. Pending calls are moved along; a reactor that has
    another clock already is left alone. This one gains no time.
    """
    if is_plain() or reactor.seconds is not time.time:
        return
    shift = time.monotonic() - time.time()
    for call in reactor.getDelayedCalls():
        call.time += shift
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
