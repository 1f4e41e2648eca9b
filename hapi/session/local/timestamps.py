"""The times that agents write into their transcripts."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def milliseconds(timestamp: Any) -> int:
    """Milliseconds since the epoch of an ISO 8601 time; 0 for what is none."""
    if not isinstance(timestamp, str):
        return 0
    try:
        return int(datetime.fromisoformat(timestamp).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
