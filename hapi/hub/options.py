"""Options of the hub: from flags, the environment, `settings.json`, and defaults, in this order."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from hapi.home import Home
from hapi.hub.domain.retention_limits import NO_LIMITS, RetentionLimits
from hapi.hub.http.proxies import NO_PROXIES, TrustedProxies
from hapi.hub.notify.options import NotifyOptions
from hapi.hub.sharing_options import DRAIN_SECONDS, as_flag, first_given, sharing_options
from hapi.hub.store.database_url import DatabaseUrl, is_url
from hapi.settings import (
    ConfigurationError,
    configuration_error,
    origin,
    read_settings,
)
from hapi.switches import read_git_actions

HOST, PORT = "127.0.0.1", 3006
DATABASE = "hub.db"
BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
OWN_PATHS = frozenset({"api", "cli", "health", "ready", "metrics", "socket.io", "assets"})
"""First segments of the hub's own paths, with which no base path may begin."""


@frozen
class TlsFiles:
    """Where the hub's certificate chain and private key are, both in PEM form."""

    certificate: Path
    key: Path


class NoPort(ConfigurationError):
    """The value of a port option is not a port."""


@frozen
class HubOptions:
    home: Home
    host: str = HOST
    port: int = PORT
    # None: the token in settings.json, generated if there is none
    token: str | None = field(default=None, repr=False)
    database: Path | DatabaseUrl | None = None  # None: hub.db in the home
    public_url: str | None = None
    cors_origins: tuple[str, ...] = ()
    web_root: Path | None = None  # None: our own page
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: TrustedProxies = NO_PROXIES
    retention: RetentionLimits = NO_LIMITS
    tls: TlsFiles | None = None  # None: plain HTTP
    base_path: str = ""  # as "/hapi": the hub is also served below this path
    notify: NotifyOptions = field(factory=NotifyOptions)
    git_actions: bool = False  # whether people may change repositories from the page
    name: str = ""  # among the hubs of a database; "": that of the host
    advertise: str | None = None  # where other hubs reach this one; None: it serves alone
    drain_seconds: float = DRAIN_SECONDS  # in which a hub with `advertise` closes its sockets
    drain_setting: str = ""  # by which `drain_seconds` was given; "": it was not
    sharing_settings: tuple[str, ...] = ()  # that were given for `advertise` and `name`

    @property
    def used_database(self) -> Path | DatabaseUrl:
        """The file of the database, or its address in PostgreSQL."""
        return self.database or self.home.path / DATABASE

    def check_sharing(self) -> None:
        """Raises ConfigurationError if what is for hubs of a database in PostgreSQL was given for
        one in a file, which a single hub opens, or the time of a hub that has no others beside it.
        """
        if isinstance(self.used_database, Path) and (self.advertise or self.name):
            name = next(iter(self.sharing_settings), "--advertise" if self.advertise else "--name")
            raise configuration_error(
                name, f"{name} is for hubs of a database in PostgreSQL (--database)"
            )
        if self.drain_setting and not self.advertise:
            raise configuration_error(
                self.drain_setting,
                f"{self.drain_setting} is for hubs with a database in PostgreSQL (--database) and "
                "--advertise",
            )

    @property
    def hub_name(self) -> str:
        """The name of this hub among those of its database."""
        return self.name or socket.gethostname() or "hub"

    @property
    def database_secrets(self) -> tuple[str, ...]:
        """What of the database's URL no log may contain."""
        return self.database.secrets if isinstance(self.database, DatabaseUrl) else ()

    def taking_database_secrets(self, environ: MutableMapping[str, str]) -> HubOptions:
        """These options with what `environ` has of the database in PostgreSQL, which is taken out
        of it: programs that are started with `environ` are no concern of the database.
        """
        if not isinstance(self.database, DatabaseUrl):
            return self
        for name in ("HAPI_DATABASE", "DB_PATH"):
            environ.pop(name, None)
        password = environ.pop("PGPASSWORD", "")
        return evolve(self, database=self.database.using_password(password))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **flags: Any) -> HubOptions:
        """`flags` are fields of the class, and those of RetentionLimits.read; None means that the
        flag was not given. Raises
        ConfigurationError, InvalidSettings, HomeUnusable.
        """
        given = {name: value for name, value in flags.items() if value is not None}
        home = given.pop("home", None) or Home.find(environ)
        settings = read_settings(home)
        host = (
            given.get("host")
            or environ.get("HAPI_LISTEN_HOST")
            or settings.get("listenHost")
            or HOST
        )
        port = given.get("port", environ.get("HAPI_LISTEN_PORT") or settings.get("listenPort"))
        public_by, public = first_given(
            {
                "--public-url": given.get("public_url"),
                "HAPI_PUBLIC_URL": environ.get("HAPI_PUBLIC_URL"),
                "publicUrl in settings.json": settings.get("publicUrl"),
            }
        )
        web_root = read_path(
            "webRoot",
            given.get("web_root") or environ.get("HAPI_WEB_ROOT") or settings.get("webRoot"),
        )
        origins_by, origins = first_given(
            {
                "--cors-origin": given.get("cors_origins"),
                "CORS_ORIGINS": environ.get("CORS_ORIGINS"),
                "corsOrigins in settings.json": settings.get("corsOrigins"),
            }
        )
        hosts = (
            given.get("allowed_hosts")
            or environ.get("HAPI_ALLOWED_HOSTS")
            or settings.get("allowedHosts")
            or ()
        )
        if web_root is not None and not web_root.is_dir():
            raise configuration_error(
                "--web-root" if "web_root" in given else "webRoot",
                f"the page's directory {str(web_root)!r} (--web-root, HAPI_WEB_ROOT, "
                "webRoot in settings.json) does not exist",
            )
        if not isinstance(host, str):
            raise ConfigurationError(f"listenHost {host!r} must be a string")
        with as_flag("base_path" in given):
            base_path = read_base_path(
                given.get("base_path")
                or environ.get("HAPI_BASE_PATH")
                or settings.get("basePath")
                or ""
            )
        return cls(
            home=home,
            host=host,
            port=PORT if port is None else read_port(port),
            token=given.get("token") or (environ.get("CLI_API_TOKEN") or "").strip() or None,
            database=_database(given, environ, settings),
            public_url=origin(public, public_by) if public_by else None,
            cors_origins=tuple(
                item if item == "*" else origin(item, origins_by)
                for item in read_list(origins or (), origins_by)
            ),
            web_root=web_root,
            allowed_hosts=tuple(item.lower() for item in read_list(hosts, "allowedHosts")),
            trusted_proxies=_trusted_proxies(given, environ, settings),
            retention=RetentionLimits.read(given, environ, settings),
            tls=read_tls_files(given, environ, settings),
            base_path=base_path,
            notify=NotifyOptions.read(given, environ, settings),
            git_actions=read_git_actions(environ, settings, given.get("git_actions")),
            **sharing_options(given, environ, settings),
        )


def _database(
    flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
) -> Path | DatabaseUrl | None:
    named = {
        "--database": flags.get("database"),
        "HAPI_DATABASE": environ.get("HAPI_DATABASE"),
        "DB_PATH": environ.get("DB_PATH"),
        "database in settings.json": settings.get("database"),
    }
    return next((read_database(value, name) for name, value in named.items() if value), None)


def hide_password(database: object, given: object) -> None:
    """Hide the password of `database` from the list of processes, if it is in the option `given`
    of the command line.
    """
    if isinstance(database, DatabaseUrl) and isinstance(given, str) and database.has_password:
        from hapi.process.arguments import replace_in_command_line

        replace_in_command_line(given, database.masked(given))


def read_database(value: object, name: str) -> Path | DatabaseUrl | None:
    """The database of the setting `name`, None if there is none. Raises ConfigurationError, whose
    text contains no password.
    """
    if isinstance(value, DatabaseUrl):
        return value
    if isinstance(value, str) and is_url(value):
        return DatabaseUrl.parse(value, name)
    return read_path("database", value)


def _trusted_proxies(
    flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
) -> TrustedProxies:
    named = {
        "--trusted-proxy": flags.get("trusted_proxies"),
        "HAPI_TRUSTED_PROXIES": environ.get("HAPI_TRUSTED_PROXIES"),
        "trustedProxies in settings.json": settings.get("trustedProxies"),
    }
    return next((read_proxies(value, name) for name, value in named.items() if value), NO_PROXIES)


def read_proxies(value: object, name: str) -> TrustedProxies:
    """The trusted proxies of the setting `name`. Raises ConfigurationError."""
    try:
        return TrustedProxies.parse(read_list(value, name))
    except ValueError as error:
        raise configuration_error(name, f"{name}: {error}") from error


def read_tls_files(
    flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
) -> TlsFiles | None:
    """The files of the certificate and its key; the former may hold both. Raises
    ConfigurationError.
    """
    certificate = (
        flags.get("tls_cert") or environ.get("HAPI_TLS_CERT") or settings.get("tlsCert") or None
    )
    key = flags.get("tls_key") or environ.get("HAPI_TLS_KEY") or settings.get("tlsKey") or None
    for name, value in (("tlsCert", certificate), ("tlsKey", key)):
        if value is not None and not isinstance(value, str | Path):
            raise ConfigurationError(f"{name} in settings.json must be a string")
    if certificate is None:
        if key is not None:
            raise ConfigurationError(
                "there is a TLS key (--tls-key, HAPI_TLS_KEY, tlsKey in settings.json), but no "
                "certificate (--tls-cert, HAPI_TLS_CERT, tlsCert in settings.json)"
            )
        return None
    files = [Path(path).expanduser().absolute() for path in (certificate, key or certificate)]
    return TlsFiles(*files)


def read_path(key: str, value: object) -> Path | None:
    """The path of the setting `key`, None if there is none. Raises ConfigurationError."""
    if value is None or value == "":
        return None
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{key} {value!r} in settings.json must be a string")
    return Path(value).expanduser()


def read_base_path(value: object) -> str:
    """The path below which people reach the hub, such as `/hapi`; "" for the root. Raises
    ConfigurationError.
    """
    name = "the base path (--base-path, HAPI_BASE_PATH, basePath in settings.json)"
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string")
    path = value.rstrip("/")
    if not path:
        return ""
    if BASE_PATH.fullmatch(path) is None:
        raise ConfigurationError(f"{name} must look like /hapi, and {value!r} does not")
    first = path.split("/")[1]
    if first in OWN_PATHS:
        raise ConfigurationError(f"{name} must not begin with /{first}, a path of the hub itself")
    return path


def read_port(value: object) -> int:
    """Raises NoPort."""
    text = str(value)
    if isinstance(value, bool) or not (
        text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536
    ):
        raise NoPort(
            f"port {value!r} (HAPI_LISTEN_PORT, listenPort in settings.json) "
            "must be a number from 0 to 65535"
        )
    return int(text)


def read_list(value: object, name: str) -> list[str]:
    """A list of strings, also given as one string with commas. Raises ConfigurationError."""
    items = (
        value.split(",")
        if isinstance(value, str)
        else list(value)
        if isinstance(value, (list, tuple))
        else None
    )
    if items is None or not all(isinstance(item, str) for item in items):
        raise ConfigurationError(f"{name} must be a list of strings")
    return [item.strip() for item in items if item.strip()]
