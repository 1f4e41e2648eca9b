"""Short commands on real processes: output, exit code, deadline, limits."""

import os
import select

import pytest_twisted

from hapi.process import command
from hapi.process.command import run_command
from hapi.process.git import Git

ENVIRON = {"PATH": os.environ["PATH"]}


def shell(reactor, script, **how):
    return run_command(reactor, ["sh", "-c", script], ENVIRON, **how)


@pytest_twisted.ensureDeferred
async def test_a_command_gives_its_exit_code_and_output_and_reads_nothing(reactor, tmp_path):
    result = await shell(reactor, "cat; pwd; echo oops >&2; exit 3", directory=str(tmp_path))
    assert (result.exit_code, result.stdout, result.stderr) == (3, f"{tmp_path}\n", "oops\n")
    assert result.error is None


@pytest_twisted.ensureDeferred
async def test_a_command_reads_what_it_is_given_and_may_ignore_it(reactor):
    text = b"line\n" * 100_000
    assert (await shell(reactor, "cat", stdin=text)).stdout == text.decode()
    assert (await shell(reactor, "exit 4", stdin=text)).exit_code == 4


@pytest_twisted.ensureDeferred
async def test_a_command_that_is_missing_says_so(reactor):
    result = await run_command(reactor, ["no-such-program"], ENVIRON)
    assert result.exit_code is None
    assert result.error == "no-such-program is not installed or is not on PATH"


@pytest_twisted.ensureDeferred
async def test_a_command_that_is_late_is_killed(reactor):
    result = await shell(reactor, "exec sleep 600", timeout=0.2)
    assert (result.exit_code, result.error) == (None, "sh did not finish within 0.2 s")


@pytest_twisted.ensureDeferred
async def test_what_a_late_command_has_started_is_killed_with_it(reactor, tmp_path):
    os.mkfifo(tmp_path / "open")
    end = os.open(tmp_path / "open", os.O_RDONLY | os.O_NONBLOCK)
    script = "(echo started; exec sleep 600) > open & wait"
    assert (await shell(reactor, script, timeout=1.0, directory=str(tmp_path))).error
    try:
        assert os.read(end, 100) == b"started\n"
        assert select.select([end], [], [], 60)[0]  # until nobody has it open any longer
        assert os.read(end, 100) == b""
    finally:
        os.close(end)


@pytest_twisted.ensureDeferred
async def test_a_command_that_writes_without_end_is_killed(reactor, monkeypatch):
    monkeypatch.setattr(command, "MAX_OUTPUT", 1 << 20)
    result = await shell(reactor, "exec yes", timeout=60)
    assert (result.exit_code, result.error) == (None, "sh wrote more than 1 MiB")


@pytest_twisted.ensureDeferred
async def test_of_long_error_output_the_end_is_kept(reactor, monkeypatch):
    monkeypatch.setattr(command, "MAX_ERROR_OUTPUT", 4)
    result = await shell(reactor, "echo 123456789 >&2")
    assert (result.exit_code, result.stderr) == (0, "789\n")


@pytest_twisted.ensureDeferred
async def test_git_never_uses_the_variables_that_name_another_repository(reactor, tmp_path):
    git = Git(reactor, {**ENVIRON, "GIT_DIR": str(tmp_path / "other")})
    assert (await git.run(str(tmp_path), "init", "-q")).exit_code == 0
    assert (tmp_path / ".git").is_dir()
    assert not (tmp_path / "other").exists()
