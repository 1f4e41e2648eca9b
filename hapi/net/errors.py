"""What can go wrong between us and a hub, in words a person can use."""

from __future__ import annotations

import os


class LinkLost(Exception):
    """The connection ended before the answer came; whether the hub acted is unknown."""


class AckTimeout(Exception):
    """The peer did not answer in time."""


class PeerGone(Exception):
    """The client's socket dropped, or was gone already."""


class FrameTooLarge(ValueError):
    """A message over the limit was refused before it was sent."""


class ConnectRefused(Exception):
    """Raised by a namespace to keep a client out; the text goes to the client."""


class HubRefused(Exception):
    """The hub answered and will not: 4xx, or something that is no hub. Trying again as it is changes nothing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the hub refused: {reason} (HTTP {status})")
        self.status, self.reason = status, reason


class HubUnreachable(Exception):
    """No usable answer: network, time-out, 5xx. Worth trying again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the hub cannot be reached: {reason}")
        self.reason = reason


def connection_words(error: BaseException | None, host: str) -> str:
    """Why a connection to `host` failed, as one clause. Knows DNS, refused ports, time-outs and certificates."""
    from twisted.internet import error as network

    seen = _innermost(error)
    if tls := certificate_words(error, host):
        return tls
    match seen:
        case None:
            return "the connection ended"
        case network.DNSLookupError():
            return f"the name {host} cannot be resolved"
        case network.ConnectionRefusedError():
            return f"nothing listens at {host} (connection refused)"
        case network.TimeoutError() | network.TCPTimedOutError():
            return f"{host} did not answer in time"
        case network.ConnectionDone() | network.ConnectionLost() | network.ConnectionAborted():
            return "the connection was closed"
        case network.ConnectError() if seen.osError is not None:
            return os.strerror(seen.osError) if isinstance(seen.osError, int) else str(seen.osError)
    return str(seen) or type(seen).__name__


def _innermost(error: BaseException | None) -> BaseException | None:
    """Look through the lists that twisted.web and endpoints wrap round a reason."""
    for _ in range(5):
        reasons = getattr(error, "reasons", None)
        if not reasons:
            return error
        inner = reasons[0]
        error = getattr(inner, "value", inner)
    return error


# OpenSSL's reasons (X509_verify_cert_error_string) that a person can act on; others are shown as they are.
_CERTIFICATE = {
    "certificate has expired": "its certificate has expired",
    "certificate is not yet valid": "its certificate is not valid yet (is this machine's clock right?)",
    "self-signed certificate": "its certificate is self-signed and not trusted here",
    "self signed certificate": "its certificate is self-signed and not trusted here",
    "unable to get local issuer": "its certificate comes from an authority that is not trusted here",
    "unable to verify the first": "its certificate comes from an authority that is not trusted here",
}


def certificate_words(error: BaseException | None, host: str) -> str | None:
    """What is wrong with the TLS of `host`, as one clause; None when `error` is about something else."""
    seen = _innermost(error)
    kind = type(seen).__module__.split(".")[0] if seen is not None else ""
    if kind == "service_identity":
        return f"its certificate is for another host than {host}"
    if kind != "OpenSSL":
        return None
    text = str(seen)
    for sign, words in _CERTIFICATE.items():
        if sign in text:
            return words
    if "certificate verify failed" in text:
        return f"its certificate is not trusted here: {text[:120]}"
    if "wrong version number" in text or "packet length too long" in text:
        return "it does not speak TLS (http instead of https?)"
    return f"TLS failed: {text[:160]}"
