"""Workspace roots, directories and browsing: which paths callers may name."""

import errno
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapi.protocol.spawn import NeedsDirectory, SpawnRefused
from hapi.runner.workspace.browse import list_directory, path_exists
from hapi.runner.workspace.directories import prepare_directory
from hapi.runner.workspace.roots import RootUnusable, WorkspaceRoots
from tests.support.paths import FIXTURES

RECORDED = [json.loads(line) for line in (FIXTURES / "rpc-results.jsonl").read_text().splitlines()]


@pytest.fixture
def work(tmp_path):
    """The workspace of the recordings, and something outside."""
    root = tmp_path / "work"
    for directory in ("src", "..foo"):
        (root / directory).mkdir(parents=True)
    (root / "a.txt").write_text("hello world")
    (root / ".hid").write_text("x")
    (tmp_path / "outside/deep").mkdir(parents=True)
    (tmp_path / "work2").mkdir()
    (root / "escape").symlink_to(tmp_path / "outside")
    (root / "ln").symlink_to(root / "a.txt")
    (root / "lnd").symlink_to(root / "src")
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "loop").symlink_to(root / "loop")
    return root


@pytest.fixture
def roots(work):
    return WorkspaceRoots.parse([str(work)])


def test_without_roots_everything_is_inside():
    assert WorkspaceRoots().contains("/etc")
    assert WorkspaceRoots().is_mounted("/nowhere/at/all")


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("", True),
        ("src", True),
        ("new/deep", True),
        ("..foo", True),
        ("lnd/x", True),
        ("..", False),
        ("../work2", False),
        ("../../etc", False),
        ("src/../../work2", False),
        ("escape", False),
        ("escape/deep", False),
        ("escape/new", False),
        ("loop/x", False),
    ],
)
def test_inside_is_judged_by_whole_components_after_symlinks__D01(work, roots, path, inside):
    assert roots.contains(work / path) is inside


@given(
    st.lists(
        st.sampled_from(
            ["..", ".", "src", "escape", "lnd", "deep", "new", "work", "work2", "outside"]
        ),
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_nothing_held_resolves_to_the_outside__D01(work, roots, parts):
    path = os.path.join(work, *parts)
    real = os.path.realpath(path)
    assert roots.contains(path) is (real == str(work) or real.startswith(f"{work}/"))


@pytest.mark.parametrize("path", ["/\0", "x" * 10_000, "\ud800"])
def test_a_path_that_cannot_be_resolved_is_outside__D05(roots, path):
    assert not roots.contains(path)


def test_a_root_may_be_a_symlink__D04(work, tmp_path):
    (tmp_path / "link").symlink_to(work)
    roots = WorkspaceRoots.parse([str(tmp_path / "link"), str(tmp_path / "link") + "/"])
    assert roots.given == (str(tmp_path / "link"),)
    assert roots.contains(work / "src")
    assert roots.contains(tmp_path / "link/src")


@pytest.mark.parametrize("root", ["", "  ", "/no/such/place", "/etc/hostname", "/\0"])
def test_a_root_that_is_no_directory_is_refused(root):
    with pytest.raises(RootUnusable):
        WorkspaceRoots.parse([root])


# --- the directory of a session


def test_a_directory_is_used_and_a_missing_one_made_or_asked_for(work):
    assert prepare_directory(str(work / "src"), True) is None
    assert prepare_directory(str(work / "lnd"), True) is None
    assert prepare_directory(str(work / "n/e/w"), False) == NeedsDirectory(str(work / "n/e/w"))
    assert prepare_directory(str(work / "n/e/w"), True) is None
    assert (work / "n/e/w").is_dir()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a.txt", "non-directory file already exists"),
        ("a.txt/sub", "A file already exists at this path or in the parent path"),
        ("dangling", "which does not exist"),
        ("ln", "which is not a directory"),
        ("loop", "ELOOP"),
        ("x" * 300, "Unable to inspect"),
        ("a\0b", "Unable to inspect"),
    ],
)
def test_a_file_or_link_in_the_way_is_named__D02(work, path, words):
    refused = prepare_directory(str(work / path), True)
    assert isinstance(refused, SpawnRefused)
    assert words in refused.message


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission"),
        (errno.ENOTDIR, "A file already exists"),
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EPERM, "EPERM"),
        (errno.ENOENT, "ENOENT"),
        (errno.EEXIST, "appeared there meanwhile"),
    ],
)
def test_a_directory_that_cannot_be_created_is_refused_with_the_reason__D09(work, number, words):
    def fail(path):
        raise OSError(number, os.strerror(number), path)

    refused = prepare_directory(str(work / "new"), True, fail)
    assert refused.message.startswith(f"Unable to create directory at '{work}/new'.")
    assert words in refused.message


def test_a_directory_that_appears_meanwhile_is_used__D09(work):
    def somebody_else_does(path):
        os.makedirs(path)
        raise FileExistsError(errno.EEXIST, "File exists")

    assert prepare_directory(str(work / "new"), True, somebody_else_does) is None


# --- browsing


@pytest.mark.parametrize(
    "line", [line for line in RECORDED if line["method"] in ("path-exists", "list-directory")]
)
def test_answers_are_the_recorded_ones(work, roots, line):
    def here(value):
        return json.loads(json.dumps(value).replace("/home/dev/work", str(work)))

    for name in ("dangling", "loop"):
        (work / name).unlink()
    (work / "..foo").rmdir()
    (work / ".git").mkdir()
    params = here(line["params"]) if isinstance(line["params"], dict) else None
    answer = {"path-exists": path_exists, "list-directory": list_directory}[line["method"]](
        roots, params
    )
    expected = here(line["result"])
    for entry in (*answer.get("entries", ()), *expected.get("entries", ())):
        entry.pop("modified"), entry.pop("size")
    if "ENOENT" in expected.get("error", ""):  # the words after the number are the system's own
        expected["error"], answer["error"] = expected["error"][:6], answer["error"][:6]
    for entry in answer.get("entries", ()):
        entry["isGitRepo"] = False
    assert answer == expected


def test_a_repository_is_marked(work, roots):
    (work / "src/.git").mkdir()
    (entry,) = [
        entry
        for entry in list_directory(roots, {"path": str(work)})["entries"]
        if entry["name"] == "src"
    ]
    assert entry["isGitRepo"]


def test_links_out_of_the_roots_are_hidden__D02(work, roots):
    names = {entry["name"] for entry in list_directory(roots, {"path": str(work)})["entries"]}
    assert "escape" not in names
    assert {"src", "a.txt", "ln", "lnd", "dangling"} <= names


def test_a_huge_directory_is_cut__D10(tmp_path):
    for number in range(5100):
        (tmp_path / f"f{number}").touch()
    assert len(list_directory(WorkspaceRoots(), {"path": str(tmp_path)})["entries"]) == 5000


def test_a_fifo_and_a_name_that_is_no_text_are_shown__D10(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    entries = {
        entry["name"]: entry["type"]
        for entry in list_directory(WorkspaceRoots(), {"path": str(tmp_path)})["entries"]
    }
    assert entries == {"pipe": "other", "�": "directory"}
    json.dumps(entries).encode()


@pytest.mark.parametrize(
    "params",
    [None, [], "x", {}, {"path": 5}, {"path": " "}, {"paths": 5}, {"paths": [None, 5, ["x"]]}],
)
def test_malformed_params_are_answered(params):
    assert list_directory(WorkspaceRoots(), params) == {
        "success": False,
        "error": "Path is required",
    }
    assert path_exists(WorkspaceRoots(), params) == {"exists": {}}


def test_a_nul_is_no_directory(work):
    assert path_exists(WorkspaceRoots(), {"paths": ["/\0"]}) == {"exists": {"/\0": False}}
    assert list_directory(WorkspaceRoots(), {"path": "/\0"})["success"] is False
