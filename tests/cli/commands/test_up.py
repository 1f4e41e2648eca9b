"""A second `hapi up` compares its options with those of the running one."""

from __future__ import annotations

import pytest

from hapi.cli.base.flags import RunnerFlags
from hapi.cli.commands.up import Up

STATUS = {
    "workspaceRoots": ["/"],
    "admission": {"maxSessions": 3, "minFreeMemory": 1 << 30, "queue": 0},
    "sessionMemory": None,
    "idleAgentSeconds": 1800.0,
    "revive": "offer",
}


@pytest.mark.parametrize(
    ("hub_flags", "flags", "difference"),
    [
        ({}, RunnerFlags(), ""),
        ({"port": 24117}, RunnerFlags(("/",), None, {"max_sessions": "3"}), ""),
        ({"port": 0}, RunnerFlags(more={"min_free_memory": "1G", "idle_agent": "30m"}), ""),
        ({"port": 24118}, RunnerFlags(), "on port 24117, not 24118"),
        ({}, RunnerFlags(("/tmp",)), "with the workspace roots /"),
        (
            {},
            RunnerFlags(more={"max_sessions": "4", "queue": "0", "idle_agent": "off"}),
            "with another value of --max-sessions, --idle-agent",
        ),
    ],
)
def test_a_difference_is_named(home, hub_flags, flags, difference):
    up = Up(home, hub_flags, flags, qr=False, as_json=False, tunnel=None)
    assert up._difference(STATUS, "http://127.0.0.1:24117") == difference
