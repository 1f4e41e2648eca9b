"""Worktrees of sessions on real repositories: never outside the workspace roots, and none is
forgotten."""

import os
import subprocess

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from hapi.attempts import attempts
from hapi.process.git import Git
from hapi.protocol.spawn import Spawned
from hapi.runner.workspace.roots import WorkspaceRoots
from hapi.runner.workspace.worktrees import Worktrees
from tests.support.runner_stage import Stage, result_of

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null"}


def git(directory, *arguments):
    who = ("-c", "user.name=n", "-c", "user.email=e")
    return subprocess.run(
        ["git", "-C", directory, *who, *arguments], check=True, capture_output=True, text=True
    ).stdout


class Told(Worktrees):
    """Tells when something was to be removed."""

    def __init__(self, reactor):
        super().__init__(Git(reactor, ENVIRON))
        self.removed = Deferred()

    async def remove(self, worktree):
        self.removed.callback(found := await super().remove(worktree))
        return found


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "big" / "repo"
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").write_text("x")
    git(path, "init", "-q", "-b", "main")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "first")
    return path


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside"
    path.mkdir()
    return path


def at_checkout(repository, script):
    """Run `script` when git checks files out. (A hook would not run: the runner runs none.)"""
    program = repository.parent / "filter"
    program.write_text(f"#!/bin/sh\nunset $(git rev-parse --local-env-vars)\n{script}\nexec cat\n")
    program.chmod(0o755)
    git(repository, "config", "filter.script.smudge", str(program))
    (repository / ".git/info/attributes").write_text("* filter=script\n")


def stage_in(home, reactor, root):
    return Stage(
        home, roots=WorkspaceRoots.parse([str(root)]), worktrees=Worktrees(Git(reactor, ENVIRON))
    )


async def until(reactor, happened):
    while not happened():
        await deferLater(reactor, 0.01)


def worktrees_of(repository):
    return git(repository, "worktree", "list", "--porcelain").count("worktree ")


@pytest_twisted.ensureDeferred
async def test_a_repository_that_is_a_root_has_its_worktrees_beside_it__D02_X17(
    home, reactor, repository
):
    stage = stage_in(home, reactor, repository)
    answer = stage.spawn(repository / "sub", sessionType="worktree", worktreeName="x")
    await until(reactor, lambda: stage.processes.launched)
    (plan,) = stage.processes.launched
    assert plan.environment["PWD"] == stage.folder.request.cwd == f"{repository}-worktrees/x"
    assert plan.cwd.startswith(
        f"/proc/{os.getpid()}/fd/"
    )  # the directory that was judged, whatever its name leads to now
    stage.announce(stage.pid, "s1")
    assert result_of(answer) == Spawned("s1")
    assert result_of(stage.spawn(f"{repository}-worktrees/x")).code == "outside_workspace_roots"


@pytest_twisted.ensureDeferred
async def test_no_worktree_is_made_where_a_symlink_leads_out_of_the_roots__D02_X17(
    home, reactor, repository, outside
):
    repository.with_name("repo-worktrees").symlink_to(outside)
    for root in (repository.parent, repository):
        stage = stage_in(home, reactor, root)
        refused = await stage.spawn(repository, sessionType="worktree", worktreeName="x")
        assert refused.code == "outside_workspace_roots"
        assert (list(outside.iterdir()), worktrees_of(repository), attempts(home)) == ([], 1, [])


@pytest_twisted.ensureDeferred
async def test_a_symlink_that_stays_inside_the_roots_is_followed__D02(home, reactor, repository):
    inside = repository.parent / "elsewhere"
    inside.mkdir()
    repository.with_name("repo-worktrees").symlink_to(inside)
    stage = stage_in(home, reactor, repository.parent)
    stage.spawn(repository, sessionType="worktree", worktreeName="x")
    await until(reactor, lambda: stage.processes.launched)
    assert (inside / "x/sub/file").exists()
    stage.children.detach()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("root", ["sub", "sub/deeper"])
async def test_a_repository_above_the_root_is_not_checked_out_for_a_session__D02_X17(
    home, reactor, repository, root
):
    (repository / root).mkdir(exist_ok=True)
    stage = stage_in(home, reactor, repository / root)
    refused = await stage.spawn(repository / root, sessionType="worktree", worktreeName="x")
    assert "outside this machine's workspace roots" in refused.message
    assert (worktrees_of(repository), attempts(home)) == (1, [])
    assert not repository.with_name("repo-worktrees").exists()


@pytest_twisted.ensureDeferred
async def test_a_worktree_that_is_moved_out_of_the_roots_while_it_is_made_gets_no_session__D03(
    home, reactor, repository, outside
):
    beside = f"{repository}-worktrees"
    at_checkout(repository, f"mv {beside} {outside}/moved && ln -s {outside}/moved {beside}")
    stage = Stage(
        home, roots=WorkspaceRoots.parse([str(repository.parent)]), worktrees=Told(reactor)
    )
    refused = await stage.spawn(repository, sessionType="worktree", worktreeName="x")
    assert "moved out of the workspace roots" in refused.message
    await stage.worktrees.removed
    assert stage.processes.launched == []


class Killed(Worktrees):
    """Its runner is killed while git still works."""

    async def add(self, worktree):
        assert await super().add(worktree) is None
        await Deferred()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("work", [None, "work.txt"])
async def test_a_worktree_whose_runner_was_killed_while_git_made_it_goes_with_the_next__D07_D08(
    home, reactor, repository, work
):
    stage, beside = (
        Stage(home, worktrees=Killed(Git(reactor, ENVIRON))),
        repository.with_name("repo-worktrees") / "x",
    )
    stage.spawn(repository, sessionType="worktree", worktreeName="x")
    await until(reactor, (beside / "sub/file").exists)
    if work is not None:
        (beside / work).write_text("mine")
    assert stage.folder.request.worktree["path"] == str(beside)
    stage.worktrees = worktrees = Told(reactor)
    stage.restart()
    stage.adopt()
    assert await worktrees.removed is (work is None)
    assert beside.exists() is (work is not None)
    assert (
        result_of(stage.children.stop(stage.folder.id, reason="", actor="", method=""))
        == "still_alive"
    )  # nobody of that name


@pytest_twisted.ensureDeferred
async def test_a_worktree_that_another_program_made_at_the_chosen_path_stays__D07(
    reactor, repository
):
    worktrees = Worktrees(Git(reactor, ENVIRON))
    chosen = await worktrees.choose(str(repository), "x")
    git(repository, "worktree", "add", "-b", "theirs", chosen.path)
    assert not await worktrees.remove(chosen)
    assert os.path.exists(f"{chosen.path}/sub/file")


@pytest_twisted.ensureDeferred
async def test_a_worktree_that_an_orphaned_git_still_makes_is_removed_when_that_is_done__D07(
    reactor, repository
):
    class Patient(Git):
        async def pause(self):
            git(
                repository, "worktree", "unlock", chosen.path
            )  # as git does when all is checked out

    worktrees = Worktrees(Patient(reactor, ENVIRON))
    chosen = await worktrees.choose(str(repository), "x")
    assert await worktrees.add(chosen) is None
    git(repository, "worktree", "lock", "--reason", "initializing", chosen.path)
    assert await worktrees.remove(chosen)
    assert not os.path.exists(chosen.path)


@pytest_twisted.ensureDeferred
async def test_a_worktree_that_takes_too_long_to_make_leaves_nothing__D06(reactor, repository):
    sleeper, clock = repository.parent / "sleeper", Clock()
    at_checkout(
        repository,
        f"sleep 600 >/dev/null 2>&1 & echo $! > {sleeper}.new; mv {sleeper}.new {sleeper}; wait",
    )
    clock.spawnProcess = reactor.spawnProcess
    worktrees = Worktrees(Git(clock, ENVIRON))
    chosen = await worktrees.choose(str(repository), "x")
    adding = Deferred.fromCoroutine(worktrees.add(chosen))
    await until(reactor, sleeper.exists)
    clock.advance(10.0)
    refused = await adding
    os.kill(int(sleeper.read_text()), 9)
    assert "did not finish" in refused.message
    assert (os.path.exists(chosen.path), worktrees_of(repository)) == (False, 1)


@pytest_twisted.ensureDeferred
async def test_two_that_ask_for_the_same_name_at_once_get_one_each__C17(reactor, repository):
    worktrees = Worktrees(Git(reactor, ENVIRON), random_hex=lambda _: "0000")
    first, second = [await worktrees.choose(str(repository), "x") for _ in range(2)]
    assert (first.name, second.name) == ("x", "x-0000")
    worktrees.settled(first)
    assert (await worktrees.choose(str(repository), "x")).name == "x"
