"""What a person does to a session's repository: in its directory, where the settings allow it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from hapi.confined_directory import ConfinedDirectory
from hapi.session.rpc.git import GitMethods
from hapi.session.rpc.git_actions import OFF, PUSHING, GitActions
from tests.support.work_repository import WorkRepository

IDENTITY = "[user]\n\tname = Ada\n\temail = ada@example.org\n"


@pytest.fixture
def repository(tmp_path):
    made = WorkRepository.make(tmp_path / "project")
    made.write("a.txt", "one\n")
    made.write("src/b.txt", "two\n")
    made.commit("Begin")
    return made


@pytest.fixture
def environ(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(IDENTITY)
    return {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}


@pytest.fixture
def act(repository, environ):
    return actions_in(repository.root, environ)


def actions_in(root, environ, allowed=True):
    directory = ConfinedDirectory(root)
    return GitActions(reactor, directory, environ, GitMethods(reactor, directory, environ), allowed)


def status(repository):
    return repository.git("status", "--porcelain").splitlines()


def error(answer):
    assert answer["success"] is False
    return answer["error"]


@pytest_twisted.ensureDeferred
async def test_nothing_is_done_where_actions_are_turned_off(repository, environ):
    act = actions_in(repository.root, environ, allowed=False)
    repository.write("a.txt", "changed\n")
    for answer in (
        await act.stage({"paths": ["a.txt"]}),
        await act.discard({"paths": ["a.txt"]}),
        await act.commit({"message": "x"}),
        await act.push(None),
    ):
        assert error(answer) == OFF
    assert (await act.info(None)).enabled is False
    assert status(repository) == [" M a.txt"]


ODD_NAMES = ["with space.txt", 'quote".txt', "line\nfeed.txt", "-dash.txt", ":(top)x", "*.txt", "ü"]


@pytest_twisted.ensureDeferred
async def test_files_are_staged_and_unstaged_whatever_their_names(act, repository):
    for name in ODD_NAMES:
        repository.write(name, "new\n")
    repository.write("a.txt", "changed\n")
    (repository.root / "src/b.txt").unlink()
    paths = [*ODD_NAMES, "src/b.txt"]
    assert await act.stage({"paths": paths}) == {"success": True}
    staged = repository.git("diff", "--cached", "--name-only", "-z").split("\0")
    assert set(staged) == {*paths, ""}
    assert await act.stage({"paths": paths, "staged": False}) == {"success": True}
    assert repository.git("diff", "--cached", "--name-only") == ""
    assert not (repository.root / ".git/index.lock").exists()


@pytest_twisted.ensureDeferred
async def test_a_repository_without_a_commit_can_get_its_first(tmp_path, environ):
    repository = WorkRepository.make(tmp_path / "fresh")
    repository.write("a.txt", "one\n")
    act = actions_in(repository.root, environ)
    assert (await act.stage({"paths": ["a.txt"]}))["success"]
    assert (await act.stage({"paths": ["a.txt"], "staged": False}))["success"]
    assert status(repository) == ["?? a.txt"]
    assert (await act.stage({"paths": ["a.txt"]}))["success"]
    assert (await act.commit({"message": "First"})).success
    assert repository.git("log", "--format=%s") == "First\n"


@pytest_twisted.ensureDeferred
async def test_discarding_restores_known_files_and_deletes_untracked_ones(act, repository):
    repository.write("a.txt", "changed\n")
    (repository.root / "src/b.txt").unlink()
    repository.write("new.txt", "new\n")
    repository.write("kept.txt", "kept\n")
    assert (await act.discard({"paths": ["a.txt", "src/b.txt", "new.txt"]}))["success"]
    assert status(repository) == ["?? kept.txt"]
    assert (repository.root / "a.txt").read_text() == "one\n"


@pytest.mark.parametrize(
    "path",
    [".git/config", ".GIT/HEAD", ".git", "ignored.env", "nested/kept.txt", "nested/.git/HEAD"],
)
@pytest_twisted.ensureDeferred
async def test_only_changes_are_discarded(act, repository, path):
    """Nothing would bring back git itself, what it ignores, or what another repository has."""
    repository.write(".gitignore", "*.env\n")
    repository.write("ignored.env", "secret\n")
    WorkRepository.make(repository.root / "nested").write("kept.txt", "kept\n")
    repository.write("new.txt", "new\n")
    assert path.split("/")[-1] in error(await act.discard({"paths": ["new.txt", path]}))
    assert (repository.root / "new.txt").exists()
    for kept in (".git/config", ".git/HEAD", "ignored.env", "nested/kept.txt", "nested/.git/HEAD"):
        assert (repository.root / kept).exists()
    assert not (repository.root / ".git/index.lock").exists()


@pytest_twisted.ensureDeferred
async def test_a_discarded_link_is_removed_and_not_what_it_points_to(act, repository, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (repository.root / "link").symlink_to(tmp_path / "secret")
    assert (await act.discard({"paths": ["link"]}))["success"]
    assert (tmp_path / "secret").exists()
    (repository.root / "out").symlink_to(tmp_path)
    assert "not among the changes" in error(await act.discard({"paths": ["out/secret"]}))
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "src/../../x", ".", "src/", "a\0b"])
@pytest_twisted.ensureDeferred
async def test_no_path_leads_out_of_the_directory(act, repository, path):
    repository.write("a.txt", "changed\n")
    for method in (act.stage, act.discard):
        assert error(await method({"paths": [path]}))
    assert status(repository) == [" M a.txt"]


@pytest_twisted.ensureDeferred
async def test_a_session_in_a_subdirectory_changes_nothing_beside_it(repository, environ):
    act = actions_in(repository.root / "src", environ)
    repository.write("a.txt", "changed\n")
    repository.write("src/b.txt", "changed\n")
    assert "outside" in error(await act.stage({"paths": ["../a.txt"]}))
    assert (await act.stage({"paths": ["b.txt"]}))["success"]
    assert status(repository) == [" M a.txt", "M  src/b.txt"]


@pytest_twisted.ensureDeferred
async def test_a_commit_has_what_is_staged_its_message_and_a_reflog(act, repository):
    repository.write("a.txt", "changed\n")
    await act.stage({"paths": ["a.txt"]})
    repository.write("src/b.txt", "not this\n")
    answer = await act.commit({"message": "Change a\n\n# not a comment\n"})
    assert repository.git("rev-parse", "HEAD").strip() == answer.commit
    shown = repository.git("log", "-1", "--format=%an <%ae>%n%B")
    assert shown == "Ada <ada@example.org>\nChange a\n\n# not a comment\n\n"
    assert status(repository) == [" M src/b.txt"]
    assert "Change a" in repository.git("reflog", "main")


@pytest_twisted.ensureDeferred
async def test_a_commit_in_a_linked_worktree_is_on_its_branch(repository, environ, tmp_path):
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "tree"))
    tree = WorkRepository(tmp_path / "tree")
    act = actions_in(tree.root, environ)
    tree.write("c.txt", "c\n")
    await act.stage({"paths": ["c.txt"]})
    assert (await act.commit({"message": "Aside"})).success
    assert repository.git("log", "-1", "--format=%s", "side") == "Aside\n"
    assert status(tree) == []
    assert repository.git("log", "-1", "--format=%s", "main") == "Begin\n"


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_committed_is_said(act, repository, environ):
    assert "nothing" in error(await act.commit({"message": "Empty"}))
    assert error(await act.commit({"message": " \n"}))
    (repository.root / ".git/MERGE_HEAD").write_text("x")
    assert "under way" in error(await act.commit({"message": "Merge"}))
    (repository.root / ".git/MERGE_HEAD").unlink()
    repository.git("config", "commit.gpgSign", "true")
    assert "signed" in error(await act.commit({"message": "Signed"}))
    repository.git("config", "--unset", "commit.gpgSign")
    repository.git("checkout", "--quiet", "--detach")
    assert "No branch" in error(await act.commit({"message": "Detached"}))
    with open(os.path.join(environ["HOME"], ".gitconfig"), "w"):
        pass
    repository.git("checkout", "--quiet", "main")
    assert "does not know your name" in error(await act.commit({"message": "Nobody"}))


@pytest_twisted.ensureDeferred
async def test_a_lock_of_another_git_is_respected(act, repository):
    repository.write("a.txt", "changed\n")
    lock = repository.root / ".git/index.lock"
    lock.touch()
    assert "index.lock" in error(await act.stage({"paths": ["a.txt"]}))
    assert lock.exists()
    lock.unlink()
    assert (await act.stage({"paths": ["a.txt"]}))["success"]


@pytest_twisted.ensureDeferred
async def test_no_program_of_the_repository_is_run(act, repository, tmp_path):
    marker = tmp_path / "ran"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    trap.chmod(0o755)
    for hook in ("pre-commit", "commit-msg", "post-commit", "post-index-change", "pre-push"):
        shutil.copy(trap, repository.root / ".git/hooks" / hook)
    repository.git("config", "core.fsmonitor", str(trap))
    repository.git("config", "gpg.program", str(trap))
    repository.git("config", "filter.evil.clean", str(trap))
    repository.git("config", "filter.evil.smudge", str(trap))
    repository.write("a.txt", "changed\n")
    assert (await act.stage({"paths": ["a.txt"]}))["success"]
    assert (await act.commit({"message": "Safe"})).success
    repository.write(".gitattributes", "*.txt filter=evil\n")
    repository.write("a.txt", "again\n")
    assert "filter evil" in error(await act.stage({"paths": ["a.txt"]}))
    assert "filter evil" in error(await act.discard({"paths": ["a.txt"]}))
    assert not marker.exists()


@pytest.fixture
def remote(tmp_path):
    """The address of an empty repository that takes pushes on loopback."""
    subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "served/x.git"], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["git", "daemon", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"]
    words += [f"--port={port}", f"--base-path={tmp_path / 'served'}", "--reuseaddr"]
    daemon = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        while daemon.poll() is None:  # until it listens
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"git://127.0.0.1:{port}/x.git", tmp_path / "served/x.git"
    finally:
        daemon.terminate()
        daemon.wait()


@pytest_twisted.ensureDeferred
async def test_a_branch_is_pushed_to_its_remote(act, repository, remote):
    url, directory = remote
    assert "no remote" in error(await act.push(None))
    repository.git("remote", "add", "origin", url)
    info = await act.info(None)
    assert (info.enabled, info.branch, info.remote, info.url) == (True, "main", "origin", url)
    answer = await act.push(None)
    assert (answer.remote, answer.branch) == ("origin", "main")
    pushed = subprocess.run(
        ["git", "-C", directory, "log", "--format=%s", "main"], capture_output=True, check=True
    )
    assert pushed.stdout == b"Begin\n"
    assert repository.git("rev-parse", "origin/main") == repository.git("rev-parse", "main")


@pytest_twisted.ensureDeferred
async def test_a_push_that_gets_no_answer_holds_up_no_other_action(act, repository):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        repository.git("remote", "add", "origin", f"git://127.0.0.1:{silent.getsockname()[1]}/x")
        push = Deferred.fromCoroutine(act.push(None))
        called, _ = await deferToThread(silent.accept)  # the push has begun
        with called:
            repository.write("a.txt", "changed\n")
            assert (await act.stage({"paths": ["a.txt"]}))["success"]
            assert (await act.commit({"message": "Meanwhile"})).success
            assert error(await act.push(None)) == PUSHING
            assert not push.called
    assert error(await push)  # the remote has hung up
    assert repository.git("log", "-1", "--format=%s") == "Meanwhile\n"
    assert error(await act.push(None)) != PUSHING


@pytest.mark.parametrize("url", ["ext::sh -c true", "/tmp/x.git", "file:///tmp/x", "-x", "foo::y"])
@pytest_twisted.ensureDeferred
async def test_a_remote_that_would_run_programs_is_not_used(act, repository, url):
    repository.git("remote", "add", "origin", "x")
    repository.git("config", "remote.origin.url", url)
    assert error(await act.push(None))


@pytest_twisted.ensureDeferred
async def test_passwords_of_a_remote_are_not_shown(act, repository):
    repository.git("remote", "add", "origin", "https://ada:secret@127.0.0.1:1/x.git")
    assert (await act.info(None)).url == "https://127.0.0.1:1/x.git"
    assert "secret" not in error(await act.push(None))
