"""Errors between a program and its hub, with explanations for people."""

from __future__ import annotations

import os


class LinkLost(Exception):
    """The connection ended before the answer came; whether the hub acted is unknown."""


class AckTimeout(Exception):
    """The peer did not answer in time."""


class PeerGone(Exception):
    """The client's socket is gone."""


class FrameTooLarge(ValueError):
    """A message over the limit was refused before it was sent."""


CERTIFICATE_EXPIRED = "its certificate has expired"
CERTIFICATE_UNTRUSTED = (
    "its certificate is self-signed, or from an authority that is not trusted here; "
    "SSL_CERT_FILE=FILE names a file of authorities to trust"
)


class CertificateRefused(Exception):
    """The hub's certificate cannot be trusted; the text says why."""


class ConnectRefused(Exception):
    """Raised by a namespace to refuse a client; the text is sent to the client."""


class HubRefused(Exception):
    """The hub refused (4xx), or the answer is not a hub's. A retry would fail the same way."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the hub refused: {reason} (HTTP {status})")
        self.status, self.reason = status, reason


class HubUnreachable(Exception):
    """No usable answer: network, timeout, 5xx. Worth a retry."""

    def __init__(self, reason: str, summary: str = "the hub cannot be reached") -> None:
        super().__init__(f"{summary}: {reason}")
        self.reason = reason


class HubFailed(HubUnreachable):
    """The hub answers with an error of its own (5xx), such as a full disk. Worth a retry."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status}: {reason}", "the hub answers with an error")


class HubBusy(HubUnreachable):
    """The hub answers, but wants to be asked again later (408, 425, 429). Worth a retry.

    `code` is the hub's own for the reason, "" if it gave none.
    """

    def __init__(self, status: int, reason: str, code: str = "") -> None:
        self.code = code
        super().__init__(f"{reason} (HTTP {status})", "the hub asks to try again later")


def describe_connection_error(error: BaseException | None, host: str) -> str:
    """Why a connection to `host` failed, as one clause."""
    from twisted.internet import error as network
    from twisted.internet.defer import CancelledError

    seen = _innermost(error)
    if tls := describe_certificate_error(error, host):
        return tls
    match seen:
        case None:
            return "the connection ended"
        case network.DNSLookupError():
            return f"the name {host} cannot be resolved"
        case network.ConnectionRefusedError():
            return f"nothing listens at {host} (connection refused)"
        # Who has waited long enough cancels what he waits for.
        case network.TimeoutError() | network.TCPTimedOutError() | CancelledError():
            return f"{host} did not answer in time"
        case network.ConnectionDone() | network.ConnectionLost() | network.ConnectionAborted():
            return "the connection was closed"
        case network.ConnectError() if seen.osError is not None:
            return os.strerror(seen.osError) if isinstance(seen.osError, int) else str(seen.osError)
    return str(seen) or type(seen).__name__


def _innermost(error: BaseException | None) -> BaseException | None:
    """The innermost error: twisted.web and endpoints wrap reasons in lists."""
    for _ in range(5):
        reasons = getattr(error, "reasons", None)
        if not reasons:
            return error
        inner = reasons[0]
        error = getattr(inner, "value", inner)
    return error


def describe_certificate_error(error: BaseException | None, host: str) -> str | None:
    """What is wrong with the TLS of `host`, as one clause; None if `error` is something else."""
    seen = _innermost(error)
    if isinstance(seen, CertificateRefused):
        return str(seen)
    kind = type(seen).__module__.partition(".")[0]
    if kind == "service_identity":
        return f"its certificate is not valid for {host}"
    if kind != "OpenSSL":
        return None
    text = str(seen)
    if "wrong version number" in text or "packet length too long" in text:
        return "it does not speak TLS (http instead of https?)"
    return f"TLS failed: {text[:160]}"
