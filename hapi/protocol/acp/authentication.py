"""How an agent is logged in to: the methods it names in `initialize`, and which need no person.

https://agentclientprotocol.com/protocol/v1/draft/authentication: a method has an id, a name, and
one of the types `agent` (the agent does it itself, perhaps with a browser), `env_var` (variables of
its environment) and `terminal` (the agent's own program with other arguments).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from hapi.protocol.acp.values import mapping, objects, text_or_none

AUTH_REQUIRED = -32000  # the code of an error that means: log in first
CAPABILITY: Mapping[str, Any] = {"terminal": True}  # for `clientCapabilities.auth`
LEGACY_TERMINAL = "terminal-auth"  # key of `_meta` before type `terminal` was specified

_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_KEY = re.compile(r"\bapi[-_ ]?key\b|\bkey\b|\benvironment\b", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\benvironment\b", re.IGNORECASE)
_COMMAND = re.compile(r"`([^`\n]+)`")
# Words of a method that name no provider: then any provider's key may be meant.
_GENERIC = re.compile(
    r"\b(?:a|an|api|authenticate|by|environment|existing|from|in|keys?|log|login|of|or|provide|set"
    r"|sign|the|to|token|use|using|variable|via|with|your)\b"
)


@frozen
class AuthVariable:
    name: str
    is_optional: bool = False


@frozen
class AuthMethod:
    """One way to log in. `command`: a whole command line, where the agent names one."""

    id: str
    name: str
    description: str | None = None
    kind: Literal["agent", "env_var", "terminal"] = "agent"
    variables: tuple[AuthVariable, ...] = ()
    link: str | None = None
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()


def read_auth_methods(value: Any) -> tuple[AuthMethod, ...]:
    """Read `authMethods` of the answer to `initialize`; entries without an id are left out."""
    found = (_method(item) for item in objects(value))
    return tuple(method for method in found if method is not None)


def _method(item: Mapping[str, Any]) -> AuthMethod | None:
    name = text_or_none(item.get("id"))
    if name is None:
        return None
    meta = mapping(item.get("_meta"))
    kind, source = item.get("type"), item
    if kind is None and meta.get("type") == "terminal":
        kind, source = "terminal", meta
    command: tuple[str, ...] = ()
    legacy = mapping(meta.get(LEGACY_TERMINAL))
    if legacy and (program := text_or_none(legacy.get("command"))):
        kind, source, command = "terminal", legacy, (program, *_texts(legacy.get("args")))
    return AuthMethod(
        name,
        text_or_none(item.get("name")) or name,
        text_or_none(item.get("description")),
        kind if kind in ("env_var", "terminal") else "agent",
        tuple(
            AuthVariable(variable, entry.get("optional") is True)
            for entry in objects(item.get("vars"))
            if (variable := text_or_none(entry.get("name")))
        ),
        text_or_none(item.get("link")),
        _texts(source.get("args")),
        tuple(
            (key, text)
            for key, text in mapping(source.get("env")).items()
            if isinstance(key, str) and isinstance(text, str)
        ),
        command,
    )


def _texts(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    return tuple(item for item in listed if isinstance(item, str))


def methods_without_a_person(
    methods: Sequence[AuthMethod], environ: Mapping[str, str], named: str | None
) -> tuple[AuthMethod, ...]:
    """The methods that can succeed with what is in `environ`, the most certain ones first.

    These are the one that the settings name, those whose variables are set, and those that use an
    API key if one for their provider is set.
    """
    by_name = [method for method in methods if method.id == named]
    by_variables = [method for method in methods if _has_variables(method, environ)]
    by_key = [method for method in methods if _has_key(method, environ)]
    return tuple(dict.fromkeys((*by_name, *by_variables, *by_key)))


def _has_variables(method: AuthMethod, environ: Mapping[str, str]) -> bool:
    needed = [variable.name for variable in method.variables if not variable.is_optional]
    return method.kind == "env_var" and bool(needed) and all(environ.get(name) for name in needed)


def _has_key(method: AuthMethod, environ: Mapping[str, str]) -> bool:
    if method.kind != "agent":
        return False
    text = f"{method.id.replace('_', '-')} {method.name} {method.description or ''}"
    if named := _VARIABLE.findall(text):
        return any(environ.get(name) for name in named)
    if not _KEY.search(text):
        return False
    keys = [name for name, value in environ.items() if name.endswith("_API_KEY") and value]
    named_words = re.findall(r"[a-z]+", _GENERIC.sub(" ", text.lower()))
    if named_words:
        return any(name.split("_")[0].lower() in named_words for name in keys)
    return bool(keys) or _ENVIRONMENT.search(text) is not None


def login_command(method: AuthMethod, argv: Sequence[str]) -> str | None:
    """The command line for a terminal that logs in by `method`, None if the agent names none.

    `argv`: the command of the agent itself, which a method of type `terminal` extends.
    """
    if method.kind == "terminal":
        words = method.command or (*argv, *method.arguments)
        variables = [f"{name}={shlex.quote(text)}" for name, text in method.environment]
        return " ".join((*variables, shlex.join(words)))
    found = _COMMAND.search(method.description or "")
    if found is None or _VARIABLE.fullmatch(found.group(1)):
        return None
    return found.group(1)
