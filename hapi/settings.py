"""Machine id and hub: from the environment, else from `settings.json`, else the default.

The npm CLI and hub share the file, so unknown keys are kept and their lock is respected: the
directory `settings.json.hapi.lock`, made by mkdir, renewed by its mtime, stale after 30 seconds.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from hapi.home import Home, read_capped, write_atomically
from hapi.protocol.token import AccessToken

DEFAULT_HUB = "http://localhost:3006"
QUOTED_LENGTH = 100  # characters of a wrong value that an error quotes
# As in the npm CLI, in seconds.
LOCK_STALE_AFTER, LOCK_TIMEOUT, LOCK_POLL_INTERVAL = 30.0, 5.0, 0.1


class InvalidSettings(Exception):
    """`settings.json` cannot be used. It is never overwritten."""


class ConfigurationError(Exception):
    """A setting is missing or invalid; the text names its variable and key."""


class InvalidFlag(ConfigurationError):
    """A flag of the command line is invalid."""


def configuration_error(name: str, sentence: str) -> ConfigurationError:
    """The error for an invalid value of `name`: a flag (`--…`), a variable, or a settings key."""
    return InvalidFlag(sentence) if name.startswith("--") else ConfigurationError(sentence)


def read_settings(home: Home) -> dict[str, Any]:
    """The content of `settings.json`, {} if it is missing. Raises InvalidSettings."""
    try:
        content = read_capped(home.settings)
        found = json.loads(content) if content is not None else {}
    except json.JSONDecodeError as error:
        raise InvalidSettings(
            f"{home.settings}: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{home.settings}: not UTF-8 at byte {error.start}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidSettings(
            f"{home.settings}: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not isinstance(found, dict):
        raise InvalidSettings(f"{home.settings}: holds a JSON {json_type(found)}, not an object")
    return found


def json_type(value: object) -> str:
    """The name of the value's type in JSON."""
    names = {
        type(None): "null",
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
    }
    return names.get(type(value), type(value).__name__)


def update_settings(
    home: Home, change: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Replace the settings by the result of `change`, under the lock.

    Blocks for up to 5 seconds while another writer holds the lock, so it must not be called while a
    reactor serves requests. Raises InvalidSettings.
    """
    home.prepare()
    with _locked(home):
        before = read_settings(home)
        after = dict(change(dict(before)))
        if after != before:
            write_atomically(
                home.settings, json.dumps(after, indent=2, ensure_ascii=False).encode()
            )
        return after


def _remove_stale(lock: Path) -> bool:
    """Remove a lock that is no longer renewed.

    Another program may do the same and place a new lock under the same name: the directory that was
    moved is compared with the one that was judged stale, and put back if it is another.
    """
    with suppress(OSError):
        judged = lock.stat()
        if time.time() - judged.st_mtime <= LOCK_STALE_AFTER:
            return False
        aside = lock.with_name(f"{lock.name}.{os.getpid()}.stale")
        lock.rename(aside)
        if aside.stat().st_ino != judged.st_ino:
            aside.rename(lock)
            return False
        aside.rmdir()
        return True
    return False


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    lock, deadline = home.settings_lock, time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            lock.mkdir(mode=0o700)
            break
        except FileExistsError:
            if _remove_stale(lock):
                continue
        except OSError as error:
            raise InvalidSettings(f"{lock}: {error.strerror}") from error
        if time.monotonic() > deadline:
            raise InvalidSettings(
                f"{home.settings}: another program has held {lock} for {LOCK_TIMEOUT:.0f} s"
            )
        time.sleep(LOCK_POLL_INTERVAL)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()


def machine_id(home: Home) -> str:
    """This home's machine id; a random one is saved the first time.

    Raises ConfigurationError if the saved one is not a string.
    """
    found = read_settings(home).get("machineId")
    if isinstance(found, str) and found:
        return found
    if found:
        raise ConfigurationError(
            f"machineId in {home.settings} is a JSON {json_type(found)} but must be a string"
        )
    settings = update_settings(
        home, lambda now: {**now, "machineId": now.get("machineId") or str(uuid.uuid4())}
    )
    return str(settings["machineId"])


def save_hub_address(home: Home, url: str) -> str | None:
    """Save the hub's address `url` for the other programs of this home. Raises InvalidSettings.

    Only an address that a hub saved itself is replaced. The result is None, or the address of
    another hub that the user chose, which stays.
    """

    def noted(now: dict[str, Any]) -> dict[str, Any]:
        named = now.get("apiUrl") or now.get("serverUrl")
        if _address(named or DEFAULT_HUB) == _address(url) or (
            named and named != now.get("notedApiUrl")
        ):
            return now
        return {**now, "apiUrl": url, "notedApiUrl": url}

    after = read_settings(home)
    if noted(after) != after:
        after = update_settings(home, noted)
    named = after.get("apiUrl") or after.get("serverUrl") or DEFAULT_HUB
    return None if _address(named) == _address(url) else str(named)


def _address(url: object) -> object:
    """What `url` leads to; the names of the loopback interface are one."""
    try:
        parts = urlsplit(origin(url))
    except ConfigurationError:
        return url
    host = str(parts.hostname)
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    return parts.scheme, "localhost" if loopback else host, parts.port


@frozen
class HubAccess:
    """How to reach the hub as this user."""

    url: str  # an origin: scheme, host and port, nothing after it
    token: str = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)


def hub_access(environ: Mapping[str, str], settings: Mapping[str, Any]) -> HubAccess:
    """The hub that `environ` or `settings` name. Raises ConfigurationError."""
    named = {"HAPI_API_URL": environ.get("HAPI_API_URL")}
    named |= {f"{key} in settings.json": settings.get(key) for key in ("apiUrl", "serverUrl")}
    name, url = next(((name, value) for name, value in named.items() if value), ("", DEFAULT_HUB))
    token = environ.get("CLI_API_TOKEN") or settings.get("cliApiToken") or ""
    if not isinstance(token, str):
        raise ConfigurationError(
            "the access token (CLI_API_TOKEN, cliApiToken in settings.json) must be a string"
        )
    if not (token := token.strip()):
        raise ConfigurationError(
            "no access token: run `hapi auth login`, or `hapi up` if no hub runs here yet"
        )
    try:
        AccessToken.parse(token)
    except ValueError as error:
        raise ConfigurationError(f"CLI_API_TOKEN, cliApiToken in settings.json: {error}") from error
    return HubAccess(origin(url, name), token, _extra_headers(environ, settings))


def origin(url: object, name: str = "") -> str:
    """The origin `url` of the setting `name`, normalized.

    Raises ConfigurationError if it has a path or is not an http or https URL.
    """
    label = f"{name}: hub URL {quoted_url(url)}" if name else f"hub URL {quoted_url(url)}"
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError as error:  # its text may quote a password
        raise configuration_error(
            name, f"{label} must look like http://host:port or https://host"
        ) from error
    try:
        port = parts.port
    except ValueError as error:
        raise configuration_error(
            name, f"{label} has a port that is not a number from 0 to 65535"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise configuration_error(name, f"{label} must look like http://host:port or https://host")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise configuration_error(
            name,
            f"{label} must be an origin alone: scheme, host and port, no path, query or user name",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def quoted_url(url: object) -> str:
    """The value that is given as a URL, in quotes: without what may be a password, and not longer
    than a line.
    """
    text = url if isinstance(url, str) else repr(url)
    before, at, host = text.rpartition("@")
    if at:
        scheme, mark, _ = before.partition("://")
        text = f"{scheme}{mark}***@{host}" if mark and scheme.isalpha() else f"***@{host}"
    quoted = repr(text) if isinstance(url, str) else text
    return quoted if len(quoted) <= QUOTED_LENGTH else f"{quoted[:QUOTED_LENGTH]}…"


def _extra_headers(environ: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, str]:
    if "HAPI_EXTRA_HEADERS_JSON" in environ:
        try:
            found = json.loads(environ["HAPI_EXTRA_HEADERS_JSON"] or "{}")
        except ValueError as error:
            raise ConfigurationError(
                f"HAPI_EXTRA_HEADERS_JSON is not valid JSON: {error}"
            ) from error
    else:
        found = settings.get("extraHeaders") or {}
    if not isinstance(found, dict):
        raise ConfigurationError(
            "HAPI_EXTRA_HEADERS_JSON (or extraHeaders in settings.json) must be a JSON object"
        )
    return {name: value for name, value in found.items() if isinstance(value, str)}
