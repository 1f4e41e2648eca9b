"""The address of a PostgreSQL database as people give it. psycopg is not needed here.

The form is that of libpq, "Connection URIs":
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urlencode

SCHEMES = ("postgresql://", "postgres://")
SECRET_PARAMETERS = frozenset({"password", "sslpassword"})
HIDDEN = "***"


def is_postgres_url(text: str) -> bool:
    """Whether `text` is the URL of a PostgreSQL database rather than the path of a file."""
    return text.lower().startswith(SCHEMES)


def redacted(url: str) -> str:
    """`url` without its passwords, for people."""
    base, mark, query = url.partition("?")
    scheme, separator, rest = base.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{name}:{HIDDEN}" if colon else name
    kept = [
        (key, HIDDEN if key in SECRET_PARAMETERS else value)
        for key, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{scheme}{separator}{shown}{at}{hosts}{slash}{path}{mark}" + urlencode(
        kept, quote_via=quote, safe="*/,"
    )


def has_password(url: str) -> bool:
    """Whether `url` shows a password to all who see the command line."""
    base, _, query = url.partition("?")
    user = base.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return bool(user.partition(":")[2]) or any(
        key in SECRET_PARAMETERS for key, _ in parse_qsl(query)
    )


def database_name(url: str) -> str:
    """The name of the database in `url`, "" if the server chooses one."""
    return unquote(url.partition("?")[0].partition("://")[2].partition("/")[2])
