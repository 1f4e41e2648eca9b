"""What a process that is a runner and nothing else does besides: it uses its limits and speaks to its supervisor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.application.service import MultiService

from hapi.runner.supervision.rlimits import raise_descriptor_limit
from hapi.runner.supervision.sd_notify import SystemdNotifier, notifier


def host(
    reactor: Any,
    runner: Any,
    services: MultiService,
    *,
    replaces: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> SystemdNotifier | None:
    """Make `services`, to which `runner` belongs, those of a process of its own. The result, if any, hears of reloads too.

    `replaces`: this process took over from another by hand-off.
    """
    raise_descriptor_limit()
    telling = notifier(reactor, runner, environ, replaces=replaces)
    if telling is not None:
        telling.setServiceParent(services)  # type: ignore[no-untyped-call]
    return telling
