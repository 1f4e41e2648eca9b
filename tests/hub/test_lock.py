"""One hub serves a home, and one hub opens a database."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from hapi.file_lock import FileLock, LockUnusable
from hapi.home import Home
from hapi.hub import HubOptions, hub_service
from hapi.hub.lock import HubAlreadyRunning, HubLock, database_lock_path
from hapi.hub.store.interface import StoreRefused
from tests.support.programs import CANARY, Stage, level, until

HUB = [sys.executable, "-m", "hapi", "hub", "--port", "0", "--json"]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]


@pytest.fixture
def locks(home: Home) -> Any:
    """Makes locks; all are released in the end."""
    made: list[HubLock] = []

    def make(of: Home = home, database: Path | None = None) -> HubLock:
        made.append(HubLock(of, database or of.path / "hub.db"))
        return made[-1]

    yield make
    for lock in made:
        lock.release()


def test_a_second_hub_of_the_home_is_refused_with_pid_and_address(locks: Any, home: Home) -> None:
    first = locks()
    first.acquire()
    with pytest.raises(HubAlreadyRunning, match=str(os.getpid())):
        locks().acquire()
    first.announce("http://127.0.0.1:3006")
    with pytest.raises(
        HubAlreadyRunning,
        match=f"^HAPI home {home.path} is in use by .*{os.getpid()}.* at http://127.0.0.1:3006; "
        "stop that hub first$",
    ):
        locks(database=home.path / "other.db").acquire()
    first.release()
    locks().acquire()


@pytest.mark.parametrize("how", ["same name", "symbolic link", "directory link", "dots"])
def test_one_database_is_not_shared_by_two_homes(
    locks: Any, home: Home, tmp_path: Path, how: str
) -> None:
    database = home.path / "hub.db"
    database.touch()
    locks().acquire()
    other = Home(tmp_path / "other").prepare()
    if how == "symbolic link":
        database = other.path / "linked.db"
        database.symlink_to(home.path / "hub.db")
    elif how == "directory link":
        (tmp_path / "linked").symlink_to(home.path)
        database = tmp_path / "linked/hub.db"
    elif how == "dots":
        database = Path(f"{other.path}/../{home.path.name}/hub.db")
    with pytest.raises(HubAlreadyRunning, match=r"database .* is in use by"):
        locks(other, database).acquire()
    assert json.loads((home.path / "hub.lock").read_text())["pid"] == os.getpid()
    locks(other).acquire()  # the refused hub holds nothing of its own home either


def test_a_home_by_a_symbolic_link_is_the_same(locks: Any, home: Home, tmp_path: Path) -> None:
    locks().acquire()
    (tmp_path / "linked").symlink_to(home.path)
    linked = Home.find({"HAPI_HOME": str(tmp_path / "linked")})
    with pytest.raises(HubAlreadyRunning):
        locks(linked).acquire()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"pid": "1"}', b'{"pid": true}', b"\xff" * 5000]
)
def test_a_lock_file_that_was_left_behind_blocks_nobody(
    locks: Any, home: Home, content: bytes
) -> None:
    (home.path / "hub.lock").write_bytes(content)
    database_lock_path(home.path / "hub.db").write_bytes(content)
    locks().acquire()


def test_an_owner_that_cannot_be_read_is_another_hub(locks: Any, home: Home) -> None:
    locks().acquire()
    (home.path / "hub.lock").write_bytes(b"{}")
    with pytest.raises(HubAlreadyRunning, match="is in use by another hub; stop"):
        locks().acquire()


def test_a_child_does_not_inherit_the_lock(locks: Any) -> None:
    first = locks()
    first.acquire()
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        first.release()
        locks().acquire()
        child.kill()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOLCK, "the file system does not support locks"),
        (errno.EIO, "it cannot be locked: Input/output error"),
    ],
)
def test_a_file_system_without_locks_is_one_sentence(
    locks: Any, home: Home, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def failing(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", failing)
    with pytest.raises(LockUnusable, match=f"{home.path}/hub.lock: {reason}"):
        locks().acquire()


def test_a_lock_file_that_is_a_link_is_refused(locks: Any, home: Home, tmp_path: Path) -> None:
    (home.path / "hub.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockUnusable, match="symbolic link"):
        locks().acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_database_in_a_missing_directory_is_one_sentence(locks: Any, home: Home) -> None:
    with pytest.raises(StoreRefused, match=r"/missing/hub\.db cannot be locked"):
        locks(database=home.path / "missing/hub.db").acquire()
    locks().acquire()


def test_a_deleted_lock_file_is_created_again_and_still_refuses(locks: Any, home: Home) -> None:
    first = locks()
    first.acquire()
    first.announce("http://127.0.0.1:1")
    for path in home.path.iterdir():
        path.unlink()
    first.restore()
    with pytest.raises(HubAlreadyRunning, match=r"at http://127\.0\.0\.1:1"):
        locks().acquire()


def test_a_lock_file_that_was_replaced_is_left_alone(home: Home) -> None:
    path = home.path / "hub.lock"
    first, second = FileLock(path), FileLock(path)
    assert first.try_acquire() is None
    path.unlink()
    assert second.try_acquire() is None
    first.restore()
    first.release()
    assert json.loads(path.read_text())["pid"] == os.getpid()
    second.release()


@pytest_twisted.ensureDeferred
async def test_two_hubs_of_one_process_do_not_share_a_home(reactor: Any, home: Home) -> None:
    first = hub_service(reactor, HubOptions(home, port=0))
    first.startService()
    await first.when_listening
    before = home.settings.read_bytes() if home.settings.exists() else None
    second = hub_service(reactor, HubOptions(home, port=0, database=home.path / "second.db"))
    with pytest.raises(HubAlreadyRunning, match=f"{os.getpid()}.* at {first.url}"):
        second.startService()
    assert not (home.path / "second.db").exists()
    assert (home.settings.read_bytes() if home.settings.exists() else None) == before
    await first.stopService()
    second = hub_service(reactor, HubOptions(home, port=0))
    second.startService()
    await second.when_listening
    await second.stopService()


@pytest_twisted.ensureDeferred
async def test_a_refused_hub_stops_at_once(reactor: Any, home: Home) -> None:
    first = HubLock(home, home.path / "hub.db")
    first.acquire()
    try:
        refused = hub_service(Clock(), HubOptions(home=home, port=0))
        with pytest.raises(HubAlreadyRunning):
            refused.startService()
        assert refused.stopService().called  # though no time passes on its clock
    finally:
        first.release()


@pytest_twisted.ensureDeferred
async def test_a_hub_that_could_not_start_leaves_the_home_to_the_next(
    reactor: Any, home: Home
) -> None:
    (home.path / "hub.db").write_bytes(b"something else" * 1000)
    refused = hub_service(reactor, HubOptions(home, port=0))
    refused.startService()
    with pytest.raises(StoreRefused):
        await refused.when_listening
    (home.path / "hub.db").unlink()
    service = hub_service(reactor, HubOptions(home, port=0))
    service.startService()
    await service.when_listening
    await service.stopService()


def environment(home: Home) -> dict[str, str]:
    return {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": CANARY}


@pytest.mark.program
def test_the_second_program_ends_with_3_and_names_the_first(stage: Stage, home: Home) -> None:
    first = stage.start("first", HUB, environment(home))
    first.ready(lambda: '"url"' in first.output)
    url = json.loads(first.output)["url"]
    for name, argv in {
        "hub": HUB,
        "other-database": [*HUB, "--database", "other.db"],
        "up": [sys.executable, "-m", "hapi", "up", "--port", "0"],
        "twistd": [*TWISTD, "hapi-hub", "--port", "0"],
    }.items():
        second = stage.start(name, argv, environment(home), cwd=home.path)
        assert second.exit_code(60) == 3, second.output
        sentence = f"{home.path} is in use by the hub with process id {first.pid} at {url}"
        lines = [line for line in second.output.splitlines() if sentence in line]
        assert len(lines) == 1, second.output
        assert "Traceback" not in second.output
    assert not (home.path / "other.db").exists()
    assert first.running
    first.end(signal.SIGKILL)
    again = stage.start("again", HUB, environment(home))
    again.ready(lambda: '"url"' in again.output)


@pytest.mark.program
def test_of_two_hubs_started_at_once_exactly_one_serves(stage: Stage, home: Home) -> None:
    # The import of the program takes longer than everything else: both wait for it.
    gate = stage.path / "go"
    starter = (
        "import pathlib, sys, time, hapi.cli.app, hapi.hub.service, hapi.cli.commands.hub;\n"
        f"gate = pathlib.Path({str(gate)!r})\n"
        "print('waiting', flush=True)\n"
        "while not gate.exists(): time.sleep(0.001)\n"
        "sys.exit(hapi.cli.app.run_click(['hub', '--port', '0', '--json']))"
    )
    for number in range(level(4, 20)):
        pair = [
            stage.start(f"{number}{name}", [sys.executable, "-c", starter], environment(home))
            for name in "ab"
        ]
        for program in pair:
            program.ready(lambda program=program: "waiting" in program.output)
        gate.touch()
        until(lambda pair=pair: [one for one in pair if not one.running])
        (ended,) = [one for one in pair if not one.running]
        (serving,) = [one for one in pair if one is not ended]
        assert ended.exit_code() == 3, ended.output
        assert f"process id {serving.pid}" in ended.output, ended.output
        serving.ready(lambda serving=serving: '"url"' in serving.output)
        assert serving.end() == 0
        gate.unlink()


def test_an_owner_on_another_host_is_named_with_it(locks: Any, home: Home) -> None:
    locks().acquire()
    facts = {"pid": 1 << 30, "host": "elsewhere", "url": "http://10.0.0.7:3006"}
    (home.path / "hub.lock").write_text(json.dumps(facts))
    with pytest.raises(HubAlreadyRunning, match=r"at http://10\.0\.0\.7:3006 on elsewhere; stop"):
        locks().acquire()


def test_a_full_disk_keeps_no_hub_from_starting(
    locks: Any, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        locks().acquire()
        with pytest.raises(HubAlreadyRunning, match="is in use by another hub; stop that hub"):
            locks().acquire()
