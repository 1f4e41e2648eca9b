"""What the process layer asks of the operating system, and which of its two layers answers.

`hapi.process.identity` uses pidfds and `/proc` (Linux 5.3 or later). `hapi.process.portable` uses
psutil and kill(2) and works on macOS as well. `HAPI_PROCESSES` chooses between them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from hapi.protocol.attempt import ProcessIdentity
from hapi.settings import ConfigurationError

if TYPE_CHECKING:
    from hapi.process.identity import Stat

VARIABLE = "HAPI_PROCESSES"
Layer = Literal["linux", "portable"]


class Kernel(Protocol):
    """The functions of one layer; the modules `identity` and `portable` have them all."""

    boot_id: Callable[[], str]
    pids: Callable[[], Sequence[int]]
    identify: Callable[[int], ProcessIdentity | None]
    identity_of: Callable[[Stat], ProcessIdentity | None]
    is_running: Callable[[ProcessIdentity], bool | None]
    read_command_line: Callable[[int], bytes | None]
    read_environment: Callable[[int], bytes | None]
    children_of: Callable[[int], list[int] | None]
    owner_of: Callable[[int], int | None]
    started_at: Callable[[ProcessIdentity], float]
    has_open: Callable[[int, Path], bool]
    holder_variables: Callable[[], dict[str, str]]

    def read_stat(self, pid: int, /) -> Stat | None: ...
    def send(self, identity: ProcessIdentity, /, *signals: signal.Signals) -> bool: ...


def choose_layer(environ: Mapping[str, str] = os.environ) -> Layer:
    """The layer that `HAPI_PROCESSES` names; for `auto`, its default, the one this system offers.

    Raises ConfigurationError.
    """
    wanted = environ.get(VARIABLE, "").strip().lower() or "auto"
    if wanted == "auto":
        return "linux" if _is_linux() else "portable"
    if wanted not in ("linux", "portable"):
        raise ConfigurationError(f"{VARIABLE} is {wanted!r}: it must be auto, linux or portable")
    if wanted == "linux" and not _is_linux():
        raise ConfigurationError(
            f"{VARIABLE} is 'linux', but this system lacks pidfds or /proc: use auto or portable"
        )
    return cast(Layer, wanted)


def _is_linux() -> bool:
    return (
        hasattr(os, "pidfd_open")
        and hasattr(signal, "pidfd_send_signal")
        and os.path.exists("/proc/self/stat")
    )


def kernel(layer: Layer | None = None) -> Kernel:
    """The functions of `layer`, or of the one that is chosen."""
    found: Any
    if (layer or choose_layer()) == "linux":
        from hapi.process import identity as found
    else:
        from hapi.process import portable as found
    return cast(Kernel, found)
