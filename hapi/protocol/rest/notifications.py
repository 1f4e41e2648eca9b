"""Replies about notifications and the devices that receive them."""

from __future__ import annotations

from typing import Literal, TypedDict


class VapidPublicKey(TypedDict):
    """An uncompressed point of P-256, in base64url."""

    publicKey: str


class Subscribed(TypedDict):
    """`id`: of the device in `GET /api/notifications/devices`."""

    ok: bool
    id: str


class QuietHours(TypedDict):
    """Times of day such as `22:30`, in an IANA time zone."""

    start: str
    end: str
    timeZone: str


class NotificationSettings(TypedDict):
    kinds: list[str]
    detail: Literal["minimal", "title", "command"]
    quietHours: QuietHours | None
    mutedSessions: list[str]
    whileVisible: bool


class NotifiedDevice(TypedDict):
    """`kind`: `push` for a browser, `telegram` for a person at Telegram."""

    id: str
    kind: str
    label: str
    createdAt: int
    settings: NotificationSettings


class NotifiedDevices(TypedDict):
    devices: list[NotifiedDevice]
