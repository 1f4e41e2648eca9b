"""Files, git and search for the page: within the session's directory and nowhere else."""

import base64
import os
import subprocess

import pytest
import pytest_twisted

from hapi.confined_directory import ConfinedDirectory
from hapi.home import Home
from hapi.session.rpc.file_search import FileSearch, files_below, ranked
from hapi.session.rpc.files import Files
from hapi.session.rpc.git import GitMethods
from hapi.uploads import SessionUploads


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "main.py").write_text("print(1)\n")
    (root / "notes.txt").write_text("note")
    (tmp_path / "secret").write_text("no")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "inner").symlink_to(root / "src")
    return root


@pytest.fixture
def files(project, tmp_path):
    uploads = SessionUploads(Home(tmp_path), "session")
    return Files(ConfinedDirectory(project, (uploads.path,)), uploads)


OUTSIDE = ["../secret", "/etc/passwd", "link", "src/../../secret", "no\0thing", "~/x/../../../etc"]


@pytest.mark.parametrize("path", OUTSIDE[:5])
def test_no_path_leads_out_of_the_directory(files, path):
    answer = files.read({"path": path})
    shown = path.replace("\0", "?")
    assert answer == {
        "success": False,
        "error": f"Access denied: Path '{shown}' is outside the working directory",
    }
    assert files.stat({"paths": [path]}) == {"success": True, "entries": []}


def test_links_within_the_directory_are_followed(files):
    assert files.read({"path": "inner/main.py"})["success"]


def test_a_file_is_read_as_base64(files, project):
    answer = files.read({"path": "src/main.py"})
    assert base64.b64decode(answer["content"]) == b"print(1)\n"
    assert (answer["size"], answer["success"]) == (9, True)
    assert files.read({"path": str(project / "notes.txt")})["success"]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"path": "nothing"}, "No such file or directory"),
        ({"path": "src"}, "Not a file"),
        ({}, "path is required"),
        (None, "path is required"),
        ({"path": 3}, "path must be a string"),
        ({"path": "fifo"}, "Not a file"),
    ],
)
def test_what_cannot_be_read_is_said(files, project, params, error):
    os.mkfifo(project / "fifo")
    assert files.read(params) == {"success": False, "error": error}


def test_a_directory_lists_directories_first(files):
    answer = files.list_directory({"path": ""})
    assert [(entry["name"], entry["type"]) for entry in answer["entries"]] == [
        ("inner", "directory"),
        ("src", "directory"),
        ("link", "other"),
        ("notes.txt", "file"),
    ]
    assert "size" not in answer["entries"][2]  # what the link leads to is outside
    assert files.list_directory({"path": "notes.txt"})["error"] == "Not a directory"


def test_several_files_are_looked_at_in_one_call(files):
    answer = files.stat({"paths": ["notes.txt", "nothing", 3]})
    assert [(entry["path"], entry["size"]) for entry in answer["entries"]] == [("notes.txt", 4)]


def test_an_upload_is_kept_private_and_can_be_taken_away(files, tmp_path):
    answer = files.upload(
        {
            "sessionId": "s",
            "filename": "../a b.png",
            "content": base64.b64encode(b"png").decode(),
            "mimeType": "image/png",
        }
    )
    path = answer["path"]
    assert path.startswith(str(tmp_path / "uploads"))
    assert path.endswith("-a_b.png")
    assert oct(os.stat(path).st_mode & 0o777) == "0o600"
    assert files.read({"path": path})["success"]
    assert files.delete_upload({"path": path}) == {"success": True}
    assert not os.path.exists(path)
    assert files.delete_upload({"path": str(tmp_path / "secret")})["success"] is False
    assert (tmp_path / "secret").exists()


def test_an_upload_that_is_no_base64_is_refused(files):
    assert files.upload({"filename": "x", "content": "@@@"})["error"] == "content must be base64"


# --- git


@pytest.fixture
def repository(project):
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}

    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(
            ["git", *identity, *words],
            cwd=project,
            check=True,
            env=environ,
            stdout=subprocess.DEVNULL,
        )

    git("init", "-b", "trunk")
    git("add", "notes.txt")
    git("commit", "-m", "first")
    (project / "notes.txt").write_text("note\nmore\n")
    return project, environ, git


@pytest_twisted.ensureDeferred
async def test_git_tells_status_and_differences(reactor, repository):
    project, environ, git_words = repository
    git = GitMethods(reactor, ConfinedDirectory(project), environ)
    status = await git.status({"cwd": str(project)})
    assert status["success"]
    assert "# branch.head trunk" in status["stdout"]
    assert "notes.txt" in status["stdout"]
    numstat = await git.numstat({"cwd": str(project)})
    assert numstat["stdout"].split() == ["2", "1", "notes.txt"]
    assert (await git.numstat({"cwd": "", "staged": True}))["stdout"] == ""
    git_words("add", "notes.txt")
    assert (await git.numstat({"cwd": "", "staged": True}))["stdout"].split() == [
        "2",
        "1",
        "notes.txt",
    ]
    diff = await git.diff_file({"cwd": "", "filePath": "notes.txt", "staged": True})
    assert "+more" in diff["stdout"]


@pytest_twisted.ensureDeferred
async def test_counts_say_from_where_in_the_repository_they_name_files(reactor, repository):
    project, environ, _ = repository
    (project / "apps/shop").mkdir(parents=True)
    git = GitMethods(reactor, ConfinedDirectory(project / "apps/shop"), environ)
    counts = await git.numstat({"cwd": ""})
    assert (counts["stdout"], counts["prefix"]) == ("2\t1\tnotes.txt\n", "apps/shop/")
    git = GitMethods(reactor, ConfinedDirectory(project), environ)
    assert (await git.numstat({"cwd": "apps"}))["prefix"] == "apps/"
    assert (await git.numstat({"cwd": ""}))["prefix"] == ""
    assert "prefix" not in await git.status({"cwd": ""})


@pytest_twisted.ensureDeferred
async def test_git_elsewhere_is_refused_and_without_a_repository_it_says_so(reactor, project):
    git = GitMethods(
        reactor,
        ConfinedDirectory(project),
        {**os.environ, "GIT_CEILING_DIRECTORIES": str(project.parent)},
    )
    assert "outside the working directory" in (await git.status({"cwd": "/"}))["error"]
    assert "outside" in (await git.diff_file({"cwd": "", "filePath": "../secret"}))["error"]
    assert (await git.diff_file({"cwd": ""}))["error"] == "filePath is required"
    answer = await git.status({"cwd": ""})
    assert (answer["success"], answer["exitCode"]) == (False, 128)
    assert "not a git repository" in answer["error"]
    assert (
        await GitMethods(reactor, ConfinedDirectory(project), {"PATH": ""}).status({"cwd": ""})
    )["error"] == "git is not installed or is not on PATH"


@pytest_twisted.ensureDeferred
async def test_no_program_that_the_repository_names_is_run(reactor, repository):
    project, environ, git_words = repository
    trap = project / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {project}/sprung\n")
    trap.chmod(0o755)
    git_words("config", "diff.external", str(trap))
    git_words("config", "core.fsmonitor", str(trap))
    git = GitMethods(reactor, ConfinedDirectory(project), environ)
    await git.status({"cwd": ""})
    await git.numstat({"cwd": ""})
    await git.diff_file({"cwd": "", "filePath": "notes.txt"})
    assert not (project / "sprung").exists()


# --- search


def test_the_closest_names_come_first():
    paths = ["src/main.py", "main/x/y.py", "docs/my-analysis-in.txt", "m.txt"]
    assert ranked(paths, "main", 3) == ["src/main.py", "main/x/y.py", "docs/my-analysis-in.txt"]
    assert ranked(paths, "", 1) == ["m.txt"]
    assert ranked(paths, ".*", 2) == []


def test_caches_and_tools_are_passed_over(project):
    (project / "node_modules" / "deep").mkdir(parents=True)
    (project / "node_modules" / "deep" / "main.js").write_text("")
    assert sorted(files_below(os.open(project, os.O_RDONLY))) == [
        "link",
        "notes.txt",
        "src/main.py",
    ]


@pytest_twisted.ensureDeferred
async def test_files_are_found_without_ripgrep(reactor, project):
    search = FileSearch(reactor, ConfinedDirectory(project), {"PATH": ""})
    answer = await search.ripgrep(
        {
            "args": ["--files", "--pre", "touch /tmp/x"],
            "cwd": str(project),
            "fileSearch": {"query": "mai", "limit": 5},
        }
    )
    assert answer == {"success": True, "stdout": "src/main.py", "stderr": "", "exitCode": 0}
    assert not (await search.ripgrep({"args": ["--pre", "sh"]}))["success"]
    assert "outside" in (await search.ripgrep({"cwd": "/", "fileSearch": {}}))["error"]
