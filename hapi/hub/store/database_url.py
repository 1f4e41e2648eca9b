"""The address of a database in PostgreSQL. Its password is never part of what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from attrs import evolve, field, frozen

from hapi.settings import ConfigurationError, configuration_error

SCHEMES = ("postgresql", "postgres")
SETTING = "the database (--database, HAPI_DATABASE, DB_PATH, database in settings.json)"
FORM = "postgresql://USER@HOST/DATABASE"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_WITHOUT_SLASHES = re.compile(r"(?i:postgres(?:ql)?):")
_SECRET_PARAMETERS = frozenset({"password", "sslpassword", "oauth_client_secret"})
# Parameters of libpq whose values are shown. That of another one may be a secret whose name is
# mistyped, percent-encoded or too new to be known here.
_SHOWN_PARAMETERS = frozenset(
    re.findall(
        r"\w+",
        """
    service user passfile channel_binding connect_timeout dbname host hostaddr port client_encoding
    options application_name fallback_application_name keepalives keepalives_idle
    keepalives_interval keepalives_count tcp_user_timeout sslmode sslnegotiation sslcompression
    sslcert sslkey sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer require_auth
    min_protocol_version max_protocol_version ssl_min_protocol_version ssl_max_protocol_version
    gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs load_balance_hosts
    oauth_issuer oauth_client_id oauth_scope sslkeylogfile
        """,
    )
)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


@frozen
class DatabaseUrl:
    """A connection URI of libpq, taken apart as far as HAPI needs it (PostgreSQL manual, 34.1.1).

    Parts are as in the URL, percent-encoded. `str()` is the URL without what is secret in it.
    """

    user: str
    password: str = field(repr=False)
    hosts: str  # "HOST:PORT,HOST:PORT"; "": that of libpq
    name: str  # of the database; "" if a parameter has it
    parameters: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str, setting: str = SETTING) -> DatabaseUrl:
        """Raises ConfigurationError, whose text contains no part of `text` that may be secret."""

        def refused(reason: str) -> ConfigurationError:
            return configuration_error(setting, f"{setting} {reason}")

        found = _URL.fullmatch(text)
        if found is None or found[1].lower() not in SCHEMES:
            scheme = text.partition(":")[0] if found is None else found[1]
            raise refused(
                f"must be a file or look like {FORM}, and one that begins with {scheme}: does not"
            )
        if re.search(r"\s", text) or _BROKEN_ESCAPE.search(text):
            raise refused(
                "has a URL with a space, or with a % that does not begin an escape; write a space "
                "as %20 and a % as %25"
            )
        place, mark, query = found[2].partition("?")
        authority, _, name = place.partition("/")
        user, at, hosts = authority.partition("@")
        if not at:
            user, hosts = "", authority
        user, _, password = user.partition(":")
        if "@" in hosts or "@" in name or not all(map(_is_host, hosts.split(","))):
            raise refused(
                f"must look like {FORM}; in the password, write @ as %40, : as %3A, / as %2F, "
                "? as %3F and # as %23"
            )
        if "/" in name or "#" in text:
            raise refused(f"must look like {FORM}: nothing but ?NAME=VALUE may follow the database")
        parameters = tuple(
            (key, value) for key, _, value in (each.partition("=") for each in query.split("&"))
        )
        if not mark:
            parameters = ()
        if not (name or any(value and key in ("dbname", "service") for key, value in parameters)):
            raise refused(f"has a URL without the name of a database; it must look like {FORM}")
        return cls(user, password, hosts, name, parameters)

    def __str__(self) -> str:
        return self._url(
            "",
            (
                (key, value if key in _SHOWN_PARAMETERS else "***")
                for key, value in self.parameters
                if key not in _SECRET_PARAMETERS
            ),
        )

    @property
    def with_password(self) -> str:
        """The whole URL, for libpq alone."""
        return self._url(f":{self.password}" if self.password else "", self.parameters)

    @property
    def has_password(self) -> bool:
        return bool(self.secrets)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may contain, in each form in which it may appear."""
        values = filter(None, (self.password, *(value for _, value in self._secret_parameters)))
        return tuple(dict.fromkeys(form for each in values for form in (each, unquote(each))))

    @property
    def _secret_parameters(self) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.parameters if key in _SECRET_PARAMETERS]

    def masked(self, text: str) -> str:
        """`text`, from which this was parsed, with a star for each byte of what is secret."""
        for before, secret, after in (
            (":", self.password, "@"),
            *((f"{key}=", value, "") for key, value in self._secret_parameters),
        ):
            stars = "*" * len(secret.encode("utf-8", "surrogateescape"))
            text = text.replace(f"{before}{secret}{after}", f"{before}{stars}{after}")
        return text

    def using_password(self, password: str) -> DatabaseUrl:
        """The URL with `password`, unless it has one."""
        if not password or self.has_password:
            return self
        return evolve(self, parameters=(*self.parameters, ("password", _quoted(password))))

    def _url(self, password: str, parameters: Iterable[tuple[str, str]]) -> str:
        user = f"{self.user}{password}@" if self.user or password else ""
        query = "&".join(f"{key}={value}" for key, value in parameters)
        query = f"?{query}" if query else ""
        return f"postgresql://{user}{self.hosts}/{self.name}{query}"


def is_url(text: str) -> bool:
    """Whether `text` is meant as a URL rather than as a file."""
    return _URL.match(text) is not None or _WITHOUT_SLASHES.match(text) is not None


def _is_host(text: str) -> bool:
    """Whether `text` is a host, a percent-encoded directory of a socket, or nothing; each with or
    without a port.
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]@#]*)(?::(\d{0,5}))?", text)
    return found is not None and int(found[2] or 0) < 65536


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
