"""Sessions in systemd scopes: which manager is asked and how, and what happens without one."""

import os
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from hapi.attempts import AttemptFolder
from hapi.process import LaunchPlan
from hapi.process.child_limits import SessionLimits
from hapi.process.system import SystemProcesses
from hapi.process.systemd_scopes import (
    ScopeManager,
    SystemdContext,
    SystemdManager,
    Unit,
    detect_systemd,
    unit_name,
    unit_of,
)
from hapi.protocol.attempt import AttemptRequest

GIB = 1 << 30
LIMITED = SessionLimits.read({"sessionLimits": {"tasks": 99, "cpuPercent": 150}}, GIB)

# Stands in for systemd-run: records its arguments, "makes" the scope in {root}, runs the command.
FAKE = """#!/bin/sh
echo "$@" >> {root}/asked
case $* in
  *OOMPolicy*) [ -e {root}/old ] && echo "Unknown assignment: OOMPolicy=continue" >&2 && exit 1 ;;
esac
[ -e {root}/refuses ] && echo "Failed to start transient scope unit: Access denied" >&2 && exit 1
limit=max
for word; do case $word in
  --unit=*) scope=app.slice/${{word#--unit=}} ;;
  MemoryMax=*) limit=${{word#MemoryMax=}} ;;
esac; done
[ -e {root}/unlimited ] && limit=max
mkdir -p {root}/proc/$$ {root}/sys/fs/cgroup/$scope
echo "0::/$scope" > {root}/proc/$$/cgroup
echo $limit > {root}/sys/fs/cgroup/$scope/memory.max
while [ "$1" != -- ]; do shift; done
shift
export INVOCATION_ID=0123
exec "$@"
"""


@pytest.fixture
def systemd(tmp_path):
    """A directory that stands in for /, with a systemd-run that does as it is told."""
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    program = root / "systemd-run"
    program.write_text(FAKE.format(root=root))
    program.chmod(0o755)
    return root


def asked(root: Path) -> list[list[str]]:
    return (
        [line.split() for line in (root / "asked").read_text().splitlines()]
        if (root / "asked").exists()
        else []
    )


def scopes(root, limits=LIMITED, *, clock=None, in_service=False, is_user=True, manager=True):
    around = SystemdContext(
        SystemdManager(str(root / "systemd-run"), is_user) if manager else None,
        "no systemd",
        in_service,
    )
    return ScopeManager(around, limits, (clock or Clock()).seconds, root)


@pytest.fixture
def run(reactor, home, tmp_path):
    """Launches `/bin/sh -c SCRIPT` and waits for its end; its folder."""

    async def launch(made, script, limits=LIMITED):
        processes = SystemProcesses(reactor, made)
        folder = AttemptFolder.create(home, AttemptRequest(("sh",), str(tmp_path), time.time()))
        plan = LaunchPlan(
            ("/bin/sh", "-c", script), str(tmp_path), dict(os.environ), folder, limits
        )
        launched = await processes.launch(plan)
        await processes.when_exited(launched.holder)
        return folder, launched

    return launch


@pytest_twisted.ensureDeferred
async def test_a_session_is_held_in_a_scope_by_the_very_process_that_was_started__V01(systemd, run):
    made = scopes(systemd)
    folder, launched = await run(made, 'echo "scope ${INVOCATION_ID-none}"; exit 5')
    (words,) = asked(systemd)
    before = words[: words.index("--")]
    assert before == [
        *(
            "--user",
            "--scope",
            "--quiet",
            "--collect",
            f"--unit={unit_name(folder.id)}",
            "--description=HAPI",
            "session",
        ),
        *(
            "-p",
            f"MemoryMax={GIB}",
            "-p",
            "TasksMax=99",
            "-p",
            "CPUQuota=150%",
            "-p",
            "OOMPolicy=continue",
        ),
    ]
    assert (
        systemd / f"proc/{launched.holder.pid}/cgroup"
    ).exists()  # it was systemd-run and became the holder
    assert folder.end.exit_code == 5
    assert (
        folder.output.read_text() == "scope none\n"
    )  # a runner started in there is no systemd service
    assert made.problem is None
    assert made.in_use
    assert made.warnings() == []


@pytest_twisted.ensureDeferred
async def test_a_session_starts_although_systemd_refuses_and_systemd_is_not_asked_for_a_while__V01(
    systemd, run
):
    (systemd / "refuses").touch()
    made = scopes(systemd, clock=(clock := Clock()))
    folder, _ = await run(made, "exit 6")
    assert folder.end.exit_code == 6
    assert not made.in_use
    (said,) = made.warnings()
    assert "Access denied" in said
    assert "only resource limits apply" in said
    await run(made, "exit 0")
    assert len(asked(systemd)) == 1
    (systemd / "refuses").unlink()
    clock.advance(61)
    await run(made, "exit 0")
    assert len(asked(systemd)) == 2
    assert made.warnings() == []


@pytest_twisted.ensureDeferred
async def test_a_limit_that_systemd_cannot_hold_is_told__P10(systemd, run):
    (systemd / "unlimited").touch()
    made = scopes(systemd)
    await run(made, "sleep 0.1")
    assert made.warnings() == [
        "--session-memory has no effect: systemd does not control memory here"
    ]


@pytest_twisted.ensureDeferred
async def test_a_program_that_does_not_exist_is_told_as_without_a_scope__C08(
    systemd, reactor, home, tmp_path
):
    from hapi.process import LaunchFailed

    folder = AttemptFolder.create(home, AttemptRequest(("x",), str(tmp_path), time.time()))
    made = scopes(systemd)
    with pytest.raises(LaunchFailed, match="there is no such program"):
        await SystemProcesses(reactor, made).launch(
            LaunchPlan(("/no/such",), str(tmp_path), dict(os.environ), folder, LIMITED)
        )
    assert len(asked(systemd)) == 1
    assert made.problem is None


@pytest.mark.parametrize(
    ("limits", "in_service", "wanted"),
    [
        (SessionLimits(), False, False),
        (SessionLimits(), True, True),  # or the runner's unit takes it down
        (SessionLimits(scopes="never"), True, False),
        (SessionLimits(scopes="always"), False, True),
        (SessionLimits(memory=GIB), False, True),
        (SessionLimits(extra_properties=("TasksMax=5",)), False, True),
    ],
)
def test_scopes_are_asked_for_when_something_needs_them__V01(systemd, limits, in_service, wanted):
    made = scopes(systemd, limits, in_service=in_service)
    assert bool(made.command_prefix("a", limits)) is wanted
    assert made.in_use is wanted


@pytest_twisted.ensureDeferred
async def test_an_older_systemd_is_asked_for_less__P10(systemd, run):
    (systemd / "old").touch()
    made = scopes(systemd)
    folder, _ = await run(made, "exit 5")
    assert folder.end.exit_code == 5
    assert made.warnings() == []
    await run(made, "exit 0")
    assert ["OOMPolicy=continue" in words for words in asked(systemd)] == [True, False, False]


def test_the_manager_of_the_system_is_asked_without_user(systemd):
    assert "--user" not in scopes(systemd, is_user=False).command_prefix("a", None)


@pytest.mark.parametrize(
    ("limits", "in_service", "said"),
    [
        (LIMITED, False, 1),
        (SessionLimits(scopes="always"), False, 1),
        (SessionLimits(), True, 0),
        (SessionLimits(), False, 0),
    ],
)
def test_without_a_manager_limits_that_do_not_hold_are_told__V01(systemd, limits, in_service, said):
    made = scopes(systemd, limits, in_service=in_service, manager=False)
    assert [
        sentence for sentence in made.warnings() if "but no control groups" in sentence
    ] == made.warnings()
    assert len(made.warnings()) == said
    assert not made.in_use


USERS = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/hapi-runner.service\n"
SERVICE = "0::/system.slice/hapi-runner.service\n"
INVOKED = {"INVOCATION_ID": "1"}


@pytest.mark.parametrize(
    ("cgroups", "managers", "uid", "environ", "is_user", "in_service"),
    [
        (SERVICE, ("system",), 0, INVOKED, False, True),
        (
            SERVICE,
            ("system",),
            1000,
            INVOKED,
            None,
            True,
        ),  # User=me in a system unit: nobody makes us scopes
        (SERVICE, ("system", "user"), 1000, INVOKED, True, True),
        (USERS, ("system", "user"), 1000, INVOKED, True, True),
        (USERS, ("system", "user"), 0, INVOKED, True, True),
        ("0::/\n", ("system", "user"), 0, {}, False, False),
        ("0::/\n", ("user",), 0, {}, True, False),
        (
            "0::/user.slice/user-1000.slice/session-3.scope\n",
            ("system", "user"),
            1000,
            INVOKED,
            True,
            False,
        ),
        (SERVICE, (), 0, INVOKED, None, True),  # a container that shows the host's paths
        (SERVICE, ("system",), 0, {}, False, False),  # a terminal of some service's, say
    ],
)
def test_the_manager_is_the_one_that_makes_scopes_for_us__V01(
    systemd, cgroups, managers, uid, environ, is_user, in_service
):
    (systemd / "proc/self").mkdir()
    (systemd / "proc/self/cgroup").write_text(cgroups)
    if "system" in managers:
        (systemd / "run/systemd/private").mkdir(parents=True)
    if "user" in managers:
        (systemd / "run/user/1/systemd/private").mkdir(parents=True)
    found = detect_systemd(
        {"PATH": str(systemd), "XDG_RUNTIME_DIR": "/run/user/1", **environ}, systemd, uid
    )
    assert found.in_service is in_service
    assert (None if found.manager is None else found.manager.is_user) is is_user


def test_without_systemd_run_there_is_no_manager(systemd):
    (systemd / "run/systemd/private").mkdir(parents=True)
    assert (
        detect_systemd({"PATH": "/nowhere"}, systemd, 0).reason == "systemd-run is not on the PATH"
    )


def test_a_unit_is_read_from_the_control_group():
    assert unit_of(USERS) == Unit("hapi-runner.service", True)


@pytest.mark.parametrize(
    ("settings", "memory", "mode"),
    [
        ({"sessionLimits": {"tasks": 0}}, None, "auto"),
        ({"sessionLimits": {"cpuPercent": "x"}}, None, "auto"),
        ({}, 0, "auto"),
        ({}, None, "sometimes"),
        ({}, None, ["never"]),
        ({}, GIB, "never"),
    ],
)
def test_limits_of_a_scope_that_make_no_sense_are_named(settings, memory, mode):
    with pytest.raises(ValueError, match="session"):
        SessionLimits.read(settings, memory, mode)
