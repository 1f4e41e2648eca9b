"""The hub: REST, Socket.IO, events, database and the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hapi.hub.options import HubOptions
    from hapi.hub.service import HubService, hub_service

__all__ = ["HubOptions", "HubService", "hub_service"]

_HOMES = {
    "HubOptions": "hapi.hub.options",
    "HubService": "hapi.hub.service",
    "hub_service": "hapi.hub.service",
}


def __getattr__(name: str) -> Any:
    """Load an attribute on first use, so that `import hapi.hub` itself is cheap."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(_HOMES[name]), name)
