"""The runner of a machine: for embedding, `RunnerOptions` and `runner_service`; loaded when asked
for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hapi.runner.config.options import RunnerOptions
    from hapi.runner.control.client import ControlClient
    from hapi.runner.service import RunnerService, runner_service

__all__ = ["ControlClient", "RunnerOptions", "RunnerService", "runner_service"]

_HOMES = {
    "ControlClient": "hapi.runner.control.client",
    "RunnerOptions": "hapi.runner.config.options",
    "RunnerService": "hapi.runner.service",
    "runner_service": "hapi.runner.service",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
