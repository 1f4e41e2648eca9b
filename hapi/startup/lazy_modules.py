"""Lazy modules: stand-ins for modules of which others use a name or two, or none.

Whoever imports a module while a stand-in is in its place gets the few names that it needs; the
others are those of the real module, which is loaded when one of them is asked for. Which libraries
import what is held by `tests/test_left_out_modules.py`.
"""

from __future__ import annotations

import importlib
import os
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# What Twisted and msgspec take from typing_extensions; Python's typing has all of it.
TYPING_NAMES = (
    *("Concatenate", "Never", "NotRequired", "ParamSpec", "Protocol", "Required", "Self"),
    *("TypeAlias", "TypedDict", "get_type_hints"),
)
# dis.COMPILER_FLAG_NAMES, of which inspect makes constants; the lowest bit first.
COMPILER_FLAGS = (
    *("OPTIMIZED", "NEWLOCALS", "VARARGS", "VARKEYWORDS", "NESTED", "GENERATOR", "NOFREE"),
    *("COROUTINE", "ITERABLE_COROUTINE", "ASYNC_GENERATOR"),
)
PYTHONS_WITH_THESE_FLAGS = ((3, 11), (3, 12), (3, 13))
LOG_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}  # of logging


class PartialModule(ModuleType):
    """See `partial_module`."""


def partial_module(name: str, **names: object) -> PartialModule:
    """A module that has `names`; the others are those of the real one, loaded for the first."""
    part = PartialModule(name)

    def of_real_module(attribute: str) -> Any:
        if attribute.startswith("__") and attribute != "__all__":
            raise AttributeError(attribute)
        if sys.modules.get(name) is part:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    part.__dict__.update(names, __getattr__=of_real_module)
    return part


@contextmanager
def substituted_modules(*modules: ModuleType) -> Iterator[None]:
    """Inside, whoever imports a module of these names that is not loaded gets one of `modules`."""
    before = {module.__name__: sys.modules.get(module.__name__) for module in modules}
    ours = [
        module
        for module in modules
        if module.__name__ not in sys.modules
        or isinstance(before[module.__name__], PartialModule)  # of those around us
    ]
    sys.modules.update({module.__name__: module for module in ours})
    try:
        yield
    finally:
        for module in ours:
            if sys.modules.get(name := module.__name__) is not module:
                continue  # the real one was loaded
            if (outer := before[name]) is None:
                del sys.modules[name]
            else:
                sys.modules[name] = outer


def parts_of_python() -> tuple[PartialModule, ...]:
    """What Python's modules and attrs use of other modules while they are imported."""
    return (
        partial_module("ast", NodeVisitor=_NodeVisitor),
        *_part_of_dis(),
        partial_module("tokenize"),
        partial_module("ipaddress"),
        partial_module("bz2"),
        partial_module("lzma"),
        partial_module("attr.validators", in_=_in),
        partial_module("attrs.validators"),
        _part_of_platform(),
    )


class _NodeVisitor:
    """Stands in for a class of ast, of which inspect derives one."""

    def visit(self, node: Any) -> Any:
        import ast

        return ast.NodeVisitor.visit(self, node)  # type: ignore[arg-type]

    def generic_visit(self, node: Any) -> Any:
        import ast

        return ast.NodeVisitor.generic_visit(self, node)  # type: ignore[arg-type]


def _part_of_dis() -> tuple[PartialModule, ...]:
    """Nothing for a Python whose flags were not compared with ours."""
    if sys.version_info[:2] not in PYTHONS_WITH_THESE_FLAGS:
        return ()
    flags = {1 << bit: name for bit, name in enumerate(COMPILER_FLAGS)}
    return (partial_module("dis", COMPILER_FLAG_NAMES=flags, findlinestarts=_find_line_starts),)


def _find_line_starts(code: Any) -> Any:
    from dis import findlinestarts

    return findlinestarts(code)


def _in(options: Any) -> Any:
    """The validator `in_` of attrs, which is loaded if a value is not valid."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value not in options:
            from attr.validators import in_

            in_(options)(instance, attribute, value)

    return check


def _part_of_platform() -> PartialModule:
    return partial_module(
        "platform",
        system=lambda: os.uname().sysname,
        python_implementation=_python_implementation,
    )


def _python_implementation() -> str:
    if sys.implementation.name == "cpython":
        return "CPython"
    import platform

    return platform.python_implementation()


def parts_of_libraries() -> tuple[PartialModule, ...]:
    """What Twisted and msgspec use of other modules while they are imported."""
    typing_extensions = partial_module(
        "typing_extensions",
        TypeVar=_type_variable,
        override=_mark_override,
        **{name: getattr(typing, name) for name in TYPING_NAMES},
    )
    return (
        typing_extensions,
        partial_module("ctypes", WinError=None),  # which it has on Windows alone
        partial_module("twisted.python.modules", getModule=_get_module),
        partial_module("twisted.persisted.sob"),
        partial_module("msgspec.inspect"),
        # Perspective Broker, by which one could send a request of twisted.web to another process.
        partial_module("twisted.spread.pb", Copyable=_NotCopyable, ViewPoint=_NotCopyable),
        partial_module("html", escape=_escape),
        # Two names of the package werkzeug: a server for WSGI, and a client to test it.
        partial_module("werkzeug.serving", run_simple=_run_wsgi),
        partial_module("werkzeug.test", Client=_wsgi_client),
        partial_module("urllib.request"),  # XML that refers to other files
        partial_module("pickle"),
        *_part_of_dis(),
        _part_of_logging(),
        _part_of_platform(),
    )


class _NotCopyable:
    """Stands in for a base class of requests that Perspective Broker knows."""


def _type_variable(*arguments: Any, default: object = None, **options: Any) -> Any:
    """A TypeVar; Python's has no default before 3.13, and only type checkers use it."""
    return typing.TypeVar(*arguments, **options)


def _mark_override(method: Any) -> Any:
    return method


def _get_module(name: str) -> Any:
    from twisted.python.modules import getModule

    return getModule(name)


def _part_of_logging() -> PartialModule:
    """What Twisted and Autobahn use of logging while they are imported."""
    names = {number: name for name, number in LOG_LEVELS.items()}
    return partial_module(
        "logging", getLevelName=names.__getitem__, getLogger=_LaterLogger, **LOG_LEVELS
    )


class _LaterLogger:
    """The logger `name` of logging, once it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        import logging

        return getattr(logging.getLogger(self._name), attribute)


def _escape(text: str, quote: bool = True) -> str:
    import html

    return html.escape(text, quote)


def part_of_asyncio() -> PartialModule:
    """The names of asyncio that Twisted and txaio import."""
    import inspect

    return partial_module(
        "asyncio",
        iscoroutine=inspect.iscoroutine,
        iscoroutinefunction=inspect.iscoroutinefunction,
        Future=_NoFuture,
        AbstractEventLoop=_NoEventLoop,
    )


class _NoFuture:
    """Stands in Twisted's type hints for asyncio's."""


class _NoEventLoop:
    """Stands in Twisted's type hints for asyncio's."""


def parts_of_autobahn() -> tuple[PartialModule, ...]:
    """What Autobahn's WebSockets use of WAMP and of other modules while they are imported."""
    roles = ("ServerProtocol", "ClientProtocol", "ServerFactory", "ClientFactory")
    base_classes = {f"WampWebSocket{role}": type(role, (), {}) for role in roles}
    return (
        partial_module("autobahn.wamp.websocket", **base_classes),
        partial_module("autobahn.wamp.types", TransportDetails=_TransportDetails),
        partial_module("hyperlink"),
        partial_module("subprocess"),
        partial_module("bz2"),
        partial_module("pickle", dumps=_itself),  # to compare two lists of options
        partial_module("pprint", pformat=repr),
        part_of_asyncio(),
        _part_of_logging(),
        _part_of_platform(),
    )


def _run_wsgi(*arguments: Any, **options: Any) -> Any:
    from werkzeug.serving import run_simple

    return run_simple(*arguments, **options)


def _wsgi_client(*arguments: Any, **options: Any) -> Any:
    from werkzeug.test import Client

    return Client(*arguments, **options)


def _itself(value: Any) -> Any:
    return value


class _TransportDetails:
    """What Autobahn notes of a transport: for WAMP's authentication, and in its own messages."""

    CHANNEL_TYPE_TCP, CHANNEL_TYPE_TLS, CHANNEL_FRAMING_WEBSOCKET = 4, 5, 2

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def marshal(self) -> dict[str, Any]:
        return dict(self.__dict__)
