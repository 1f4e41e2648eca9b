"""The history of a session's repository: commits, their files and their differences."""

from __future__ import annotations

import os

import pytest
import pytest_twisted
from twisted.internet import reactor

from hapi.confined_directory import ConfinedDirectory
from hapi.protocol.work.git import CommittedFile
from hapi.session.rpc.git import GitMethods
from hapi.session.rpc.git_history import GitHistory, read_changes, read_log
from tests.support.work_repository import WorkRepository


@pytest.fixture
def repository(tmp_path):
    made = WorkRepository.make(tmp_path / "project")
    made.write("a.txt", "one\n")
    made.commit("Begin\n\nWith a body.")
    made.git("mv", "a.txt", 'b "2".txt')
    made.write("c.bin", b"\0\1")
    made.commit("Rename and add")
    return made


@pytest.fixture
def history(repository):
    directory = ConfinedDirectory(repository.root)
    return GitHistory(GitMethods(reactor, directory, dict(os.environ)))


@pytest_twisted.ensureDeferred
async def test_commits_are_listed_the_latest_first(history):
    answer = await history.log({})
    assert [commit.subject for commit in answer.commits] == ["Rename and add", "Begin"]
    latest, first = answer.commits
    assert (latest.parents, latest.author, latest.refs) == ([first.id], "Ada", ["HEAD -> main"])
    assert latest.date[10] == "T"
    assert not answer.has_more


@pytest_twisted.ensureDeferred
async def test_a_part_of_the_history_says_whether_there_is_more(history):
    answer = await history.log({"limit": 1})
    assert ([commit.subject for commit in answer.commits], answer.has_more) == (
        ["Rename and add"],
        True,
    )
    answer = await history.log({"limit": 1, "skip": 1})
    assert ([commit.subject for commit in answer.commits], answer.has_more) == (["Begin"], False)
    answer = await history.log({"path": "c.bin"})
    assert [commit.subject for commit in answer.commits] == ["Rename and add"]


@pytest_twisted.ensureDeferred
async def test_a_commit_shows_its_message_its_files_and_their_differences(history):
    latest, first = (await history.log({})).commits
    answer = await history.files({"commit": first.id})
    assert (answer.author, answer.date) == (first.author, first.date)
    assert answer.message == "Begin\n\nWith a body."
    assert answer.files == [CommittedFile("a.txt", "A", 1, 0)]
    answer = await history.files({"commit": latest.id[:10]})
    assert answer.files == [
        CommittedFile('b "2".txt', "R", 0, 0, "a.txt"),
        CommittedFile("c.bin", "A", None, None),
    ]
    diff = await history.diff({"commit": first.id, "path": "a.txt"})
    assert "+one\n" in diff["stdout"]
    moved = await history.diff({"commit": latest.id, "path": 'b "2".txt', "from": "a.txt"})
    assert "rename from a.txt" in moved["stdout"]


@pytest.mark.parametrize(
    "path", ["a\0b", "\0", "../../../etc/passwd", "..", "x/../../y", "/etc/passwd", "\ud800"]
)
@pytest_twisted.ensureDeferred
async def test_a_path_outside_of_the_repository_is_refused_and_git_does_not_see_it(history, path):
    (commit, *_) = (await history.log({})).commits
    shown = path.replace("\0", "?").replace("\ud800", "?")
    refusal = f"Access denied: Path '{shown}' is outside the working directory"
    for answer in (
        await history.log({"path": path}),
        await history.diff({"commit": commit.id, "path": path}),
        await history.diff({"commit": commit.id, "path": "a.txt", "from": path}),
    ):
        assert answer == {"success": False, "error": refusal}


@pytest_twisted.ensureDeferred
async def test_a_file_has_a_history_by_its_absolute_path_too(history, repository):
    answer = await history.log({"path": str(repository.root / "c.bin")})
    assert [commit.subject for commit in answer.commits] == ["Rename and add"]


@pytest_twisted.ensureDeferred
async def test_a_merge_shows_what_it_brought_to_the_branch(history, repository):
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repository.write("side.txt", "side\n")
    repository.commit("Aside")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message", "Join", "side")
    latest = (await history.log({})).commits[0]
    assert len(latest.parents) == 2
    answer = await history.files({"commit": latest.id})
    assert [file.path for file in answer.files] == ["side.txt"]


@pytest_twisted.ensureDeferred
async def test_a_repository_without_a_commit_has_an_empty_history(tmp_path):
    root = WorkRepository.make(tmp_path / "empty").root
    history = GitHistory(GitMethods(reactor, ConfinedDirectory(root), dict(os.environ)))
    answer = await history.log({})
    assert (answer.commits, answer.success) == ([], True)


@pytest_twisted.ensureDeferred
async def test_no_repository_is_said(tmp_path):
    history = GitHistory(GitMethods(reactor, ConfinedDirectory(tmp_path), dict(os.environ)))
    answer = await history.log({})
    assert answer["success"] is False
    assert "not a git repository" in answer["error"]


@pytest.mark.parametrize(
    "params",
    [{}, None, {"commit": "--output=/tmp/x"}, {"commit": "HEAD"}, {"commit": "abc; rm"}],
)
@pytest_twisted.ensureDeferred
async def test_only_ids_name_a_commit(history, params):
    for method in (history.files, history.diff):
        assert (await method(params))["success"] is False


@pytest_twisted.ensureDeferred
async def test_an_unknown_commit_is_refused_in_the_words_of_git(history):
    answer = await history.files({"commit": "deadbeef"})
    assert answer["success"] is False
    assert "deadbeef" in answer["error"]


def test_odd_output_hurts_nobody():
    assert list(read_log("\0x\0a\x1fb")) == []
    assert read_changes("\n:1 2 3 4 M\0") == []
    assert read_changes("1\t2\t\0old") == [CommittedFile("", "M", 1, 2, "old")]
