"""The check of settings that a program makes once it is up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

CHECK_DELAY = 1.0  # seconds from the start to the check of settings


def check_settings_later(reactor: Any, settings: Mapping[str, Any]) -> None:
    """Log what is invalid in `settings` and in the environment. Loads 20 ms of modules, which
    nobody who waits for the program shall wait for."""

    def check() -> None:
        from hapi.cli.checks.settings_check import log_problems

        log_problems(os.environ, settings)

    reactor.callLater(CHECK_DELAY, check)
