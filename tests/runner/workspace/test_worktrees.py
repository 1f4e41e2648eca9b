"""Git worktrees on real repositories: where they go, what they are called, when they are
removed."""

import os
import subprocess
import time

import pytest
import pytest_twisted

from hapi.process.git import Git
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.workspace.worktrees import Worktrees, slug

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_DIR": "/nowhere",  # of the runner's environment, not meant for the session's repository
}


def git(directory, *arguments):
    return subprocess.run(
        ["git", "-C", directory, "-c", "user.name=n", "-c", "user.email=e", *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    git(path, "commit", "-q", "--allow-empty", "-m", "first")
    return path


@pytest.fixture
def worktrees(reactor):
    names = iter(f"{number:04x}" for number in range(1000))
    return Worktrees(Git(reactor, ENVIRON), random_hex=lambda _: next(names))


async def make(worktrees, directory, name):
    chosen = await worktrees.choose(directory, name)
    return chosen if isinstance(chosen, SpawnRefused) else await worktrees.add(chosen) or chosen


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (" My Feature / X!! ", "my-feature-x"),
        ("", ""),
        ("---", ""),
        ("--force", "force"),
        ("ÄÖ", ""),
        ("a" * 10_000, "a" * 64),
        ("../../etc", "etc"),
        ("x\0y\nz", "x-y-z"),
    ],
)
def test_names_become_slugs__D05(name, expected):
    assert slug(name) == expected


@pytest_twisted.ensureDeferred
async def test_a_worktree_lies_beside_its_repository(worktrees, repository):
    (repository / "sub").mkdir()
    made = await make(worktrees, str(repository / "sub"), " My Feature ")
    assert made.path == f"{repository}-worktrees/my-feature"
    assert (made.base_path, made.branch, made.name) == (
        str(repository),
        "hapi-my-feature",
        "my-feature",
    )
    assert abs(made.created_at - time.time() * 1000) < 60_000
    assert git(made.path, "rev-parse", "--abbrev-ref", "HEAD").strip() == "hapi-my-feature"


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_taken_gets_a_suffix(worktrees, repository):
    first = await make(worktrees, str(repository), "x")
    second = await make(worktrees, str(repository), "x")
    git(repository, "branch", "hapi-y")
    third = await make(worktrees, str(repository), "y")
    assert (first.name, second.name, third.name) == ("x", "x-0000", "y-0001")


@pytest_twisted.ensureDeferred
async def test_without_a_name_it_is_called_by_the_day(worktrees, repository):
    made = await make(worktrees, str(repository), None)
    assert made.name == f"{time.strftime('%m%d')}-0000"


@pytest_twisted.ensureDeferred
async def test_five_names_that_are_taken_are_enough(reactor, repository):
    worktrees = Worktrees(Git(reactor, ENVIRON), random_hex=lambda _: "same")
    for _ in range(2):
        await make(worktrees, str(repository), "x")
    assert "taken already" in (await make(worktrees, str(repository), "x")).message


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("where", ["missing", "plain", "empty", "bare"])
async def test_what_cannot_have_a_worktree_is_refused_with_gits_words__D06(
    worktrees, tmp_path, where
):
    path = tmp_path / where
    if where != "missing":
        path.mkdir()
    if where == "empty":
        git(path, "init", "-q")
    if where == "bare":
        git(path, "init", "-q", "--bare")
    refused = await make(worktrees, str(path), "x")
    assert isinstance(refused, SpawnRefused)
    assert {
        "missing": "Directory not found",
        "plain": "not a git repository",
        "empty": "invalid reference: HEAD",
        "bare": "must be run in a work tree",
    }[where] in refused.message or (where == "empty" and "HEAD" in refused.message)
    assert not os.path.exists(f"{path}-worktrees/x")


@pytest_twisted.ensureDeferred
async def test_a_clean_worktree_is_removed_and_its_branch_stays__D07(worktrees, repository):
    made = await make(worktrees, str(repository), "x")
    assert await worktrees.remove(made)
    assert not os.path.exists(made.path)
    assert "hapi-x" in git(repository, "branch")
    assert await worktrees.remove(made)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["untracked", "locked"])
async def test_a_dirty_or_locked_worktree_stays__D08(worktrees, repository, how):
    made = await make(worktrees, str(repository), "x")
    if how == "untracked":
        with open(f"{made.path}/work.txt", "w") as file:
            file.write("mine")
    else:
        git(repository, "worktree", "lock", made.path)
    assert not await worktrees.remove(made)
    assert os.path.isdir(made.path)


@pytest_twisted.ensureDeferred
async def test_a_linked_worktree_is_known(worktrees, repository, tmp_path):
    made = await make(worktrees, str(repository), "x")
    assert await worktrees.is_linked(made.path)
    assert not await worktrees.is_linked(str(repository))
    assert not await worktrees.is_linked(str(tmp_path))


@pytest_twisted.ensureDeferred
async def test_a_git_that_hangs_is_killed__D06(reactor, tmp_path):
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    ran = await Git(reactor, {"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=0.05).run(
        str(tmp_path), "status"
    )
    assert ran.exit_code is None
    assert "did not finish" in ran.error


@pytest_twisted.ensureDeferred
async def test_a_missing_git_is_reported__D06(reactor, tmp_path):
    refused = await Worktrees(Git(reactor, {"PATH": str(tmp_path)})).choose(str(tmp_path), "x")
    assert "git is not installed" in refused.message
