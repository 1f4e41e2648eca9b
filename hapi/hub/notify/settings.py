"""What one device wants to be notified of: kinds, quiet hours, sessions, and how much is shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from hapi.hub.domain.notifications import NoticeKind

MAX_MUTED = 500  # sessions
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")

TimeOfDay = Annotated[str, Meta(pattern=f"^{_TIME.pattern}$")]  # as 22:30
Detail = Literal["minimal", "title", "command"]
"""How much a notification shows: that something happened; also session and tool; also the command.
"""


class QuietHours(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Every day from `start` until `end`, which may be on the next day."""

    start: TimeOfDay
    end: TimeOfDay
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"  # an IANA name

    def include(self, now: int) -> bool:
        """Whether `now` (ms since the epoch) lies in them."""
        local = datetime.fromtimestamp(now / 1000, zone_named(self.time_zone) or UTC)
        time = f"{local:%H:%M}"
        if self.start <= self.end:
            return self.start <= time < self.end
        return time >= self.start or time < self.end


class NotificationSettings(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=False
):
    """The settings of one device."""

    kinds: tuple[NoticeKind, ...] = tuple(NoticeKind)
    detail: Detail = "title"
    quiet_hours: QuietHours | None = None
    muted_sessions: Annotated[tuple[str, ...], Meta(max_length=MAX_MUTED)] = ()
    while_visible: bool = False  # also while a visible page shows the sessions

    def wants(self, kind: NoticeKind, session_id: str, now: int, is_visible: bool) -> bool:
        """Whether a device with these settings is notified at `now` (ms since the epoch).

        `is_visible`: a page that the person sees tells them already.
        """
        if kind not in self.kinds or session_id in self.muted_sessions:
            return False
        if is_visible and not self.while_visible:
            return False
        return self.quiet_hours is None or not self.quiet_hours.include(now)


class SettingsChange(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """New values of some settings; what is left out stays."""

    kinds: tuple[NoticeKind, ...] | msgspec.UnsetType = msgspec.UNSET
    detail: Detail | msgspec.UnsetType = msgspec.UNSET
    quiet_hours: QuietHours | msgspec.UnsetType | None = msgspec.UNSET
    muted_sessions: Annotated[tuple[str, ...], Meta(max_length=MAX_MUTED)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    while_visible: bool | msgspec.UnsetType = msgspec.UNSET

    def applied_to(self, settings: NotificationSettings) -> NotificationSettings:
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        changes = {name: value for name, value in given.items() if value is not msgspec.UNSET}
        return msgspec.structs.replace(settings, **changes)


def zone_named(name: str) -> tzinfo | None:
    """The time zone with this IANA name, None if there is none."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # 0.3 MB

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def stored_settings(value: Any) -> NotificationSettings:
    """The settings of a stored row; those that cannot be read get their defaults."""
    try:
        return msgspec.convert(value or {}, NotificationSettings)
    except msgspec.ValidationError:
        return NotificationSettings()
