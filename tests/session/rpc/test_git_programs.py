"""Looking at a repository runs no program that the repository names; starting a session in it runs
no hook."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys

import pytest
import pytest_twisted

from hapi.confined_directory import ConfinedDirectory
from hapi.process.git import Git
from hapi.runner.workspace.worktrees import Worktrees
from hapi.session.rpc.git import GitMethods
from hapi.session.rpc.git_directory import format_settings, harmless_settings, read_settings
from hapi.session.rpc.git_lfs import Pointer, pointers
from tests.support.hostile_repository import (
    ATTRIBUTES,
    FILTERS,
    Traps,
    change,
    git,
    git_directory,
    make_repository,
    set_keys,
    set_traps,
)
from tests.support.paths import ROOT, SUPPORT

PLAIN_LOOKS = (
    ("status", "--porcelain=v2", "--branch", "--untracked-files=all"),
    ("diff", "--numstat"),
    ("diff", "--cached", "--numstat"),
    ("diff", "--", "file.txt"),
)


@pytest.fixture
def traps(tmp_path):
    return Traps(tmp_path / "traps")


@pytest.fixture
def environ(tmp_path):
    (tmp_path / "home").mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}


async def look(reactor, root, environ, cwd=""):
    """Everything that a page asks of the repository at `cwd` below `root`."""
    methods = GitMethods(reactor, ConfinedDirectory(root), environ)
    return [
        await methods.status({"cwd": cwd}),
        await methods.numstat({"cwd": cwd}),
        await methods.numstat({"cwd": cwd, "staged": True}),
        await methods.diff_file({"cwd": cwd, "filePath": "file.txt"}),
        await methods.diff_file({"cwd": cwd, "filePath": "staged.txt", "staged": True}),
    ]


def look_plainly(path):
    """The same by a git that trusts the repository. Whether it fails does not matter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for words in PLAIN_LOOKS:
        with open(os.devnull) as nothing:
            subprocess.run(
                ["git", *words],
                cwd=path,
                env={**clean, "GIT_TERMINAL_PROMPT": "0"},
                stdin=nothing,
                capture_output=True,
                timeout=30,
                check=False,
            )


# --- each program that git runs by itself


def a_filter(path, traps):
    (path / ".gitattributes").write_text(ATTRIBUTES)
    set_keys(path, [("filter.evil.clean", traps.command("clean"))])


def a_filter_process(path, traps):
    (git_directory(path) / "info/attributes").write_text(ATTRIBUTES)
    set_keys(path, [("filter.evil.process", traps.command("process"))])


def a_filter_of_the_worktree_configuration(path, traps):
    (path / ".gitattributes").write_text(ATTRIBUTES)
    git(path, "config", "extensions.worktreeConfig", "true")
    set_keys(path, [("filter.evil.clean", traps.command("clean"))], "--worktree")


def an_included_filter(path, traps):
    (path / ".gitattributes").write_text(ATTRIBUTES)
    included = path / "evil.config"
    set_keys(path, [("filter.evil.clean", traps.command("clean"))], "--file", str(included))
    git(path, "config", "include.path", str(included))


def a_monitor(path, traps):
    set_keys(path, [("core.fsmonitor", traps.command("fsmonitor"))])


def an_external_diff(path, traps):
    set_keys(path, [("diff.external", traps.command("external"))])


def a_diff_driver(path, traps):
    (path / ".gitattributes").write_text(ATTRIBUTES)
    set_keys(path, [("diff.evil.command", traps.command("driver"))])


def a_text_converter(path, traps):
    (path / ".gitattributes").write_text(ATTRIBUTES)
    set_keys(path, [("diff.evil.textconv", traps.command("textconv"))])


def a_hook(path, traps):
    hook = git_directory(path) / "hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {traps.command('hook')} </dev/null\n")
    hook.chmod(0o755)
    (path / "unchanged.txt").write_text("unchanged\n")
    git(path, "add", "unchanged.txt")
    os.utime(path / "unchanged.txt", (1, 1))  # git refreshes its index


def a_promisor(url, *settings):
    """A blob is missing, and fetching it from the remote runs a program."""

    def trap(path, traps):
        blob = git(path, "rev-parse", "HEAD:file.txt").strip()
        (git_directory(path) / "objects" / blob[:2] / blob[2:]).unlink()
        remote = [
            ("core.repositoryFormatVersion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.promisor", "true"),
            ("remote.origin.url", url.format(trap=traps.program)),
        ]
        set_keys(path, [*remote, *((key, str(traps.script(key))) for key in settings)])
        git(path, "config", "protocol.ext.allow", "always")

    return trap


RUN_BY_GIT = {
    "filter clean": a_filter,
    "filter process": a_filter_process,
    "filter in config.worktree": a_filter_of_the_worktree_configuration,
    "filter in an included file": an_included_filter,
    "fsmonitor": a_monitor,
    "diff.external": an_external_diff,
    "diff driver": a_diff_driver,
    "textconv": a_text_converter,
    "post-index-change": a_hook,
    "uploadpack of a promisor": a_promisor("/nowhere", "remote.origin.uploadpack"),
    "sshCommand of a promisor": a_promisor("ssh://example.invalid/x", "core.sshCommand"),
    "gitProxy of a promisor": a_promisor("git://example.invalid/x", "core.gitProxy"),
    "ext:: of a promisor": a_promisor("ext::{trap} ext"),
}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("case", RUN_BY_GIT)
async def test_what_git_would_run_does_not_run_by_a_look(reactor, tmp_path, traps, environ, case):
    path = make_repository(tmp_path / "project")
    change(path)
    RUN_BY_GIT[case](path, traps)
    traps.reset()
    answers = await look(reactor, path, environ)
    assert traps.sprung == set()
    assert answers[0]["success"], answers[0]
    assert "1 .M N..." in answers[0]["stdout"]
    look_plainly(path)
    assert traps.sprung, "git runs this program no more: the test proves nothing"


def with_submodule(path, traps, case):
    """A repository with a submodule in which `case` is laid."""
    inner = make_repository(path.with_name("inner"))
    make_repository(path)
    git(path, "submodule", "add", "-q", str(inner), "module")
    git(path, "commit", "-q", "-m", "second")
    change(path / "module")
    case(path / "module", traps)
    return path


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("case", ["filter clean", "filter process", "fsmonitor", "diff driver"])
async def test_programs_of_a_submodule_do_not_run_by_a_look(
    reactor, tmp_path, traps, environ, case
):
    path = with_submodule(tmp_path / "project", traps, RUN_BY_GIT[case])
    git(path, "config", "diff.submodule", "diff")
    set_keys(path, [("submodule.module.ignore", "none"), ("status.submoduleSummary", "true")])
    (path / "file.txt").write_text("changed\n")
    answers = await look(reactor, path, environ)
    assert [answer["success"] for answer in answers[:4]] == [True] * 4
    await look(reactor, path, environ, "module")
    assert traps.sprung == set()
    look_plainly(path)
    look_plainly(path / "module")
    assert traps.sprung


@pytest_twisted.ensureDeferred
async def test_a_filter_of_the_user_s_own_does_not_run_for_a_repository_that_asks_for_it(
    reactor, tmp_path, traps, environ
):
    path = make_repository(tmp_path / "project")
    change(path)
    (path / ".gitattributes").write_text(ATTRIBUTES)
    mine = tmp_path / "home/.gitconfig"
    set_keys(path, [(key, traps.command(key)) for key in FILTERS], "--file", str(mine))
    assert (await look(reactor, path, environ))[0]["success"]
    assert traps.sprung == set()


# --- every key of the manual at once


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["config", "include", "worktree"])
async def test_no_program_of_any_key_runs_in_top_nested_and_submodule_repositories(
    reactor, tmp_path, traps, environ, way
):
    path = with_submodule(tmp_path / "project", traps, lambda path, traps: None)
    nested = make_repository(path / "nested")
    places = (path, nested, path / "module")
    for place in (path, nested):
        change(place)
    for place in reversed(places):
        set_traps(place, traps, way)
    traps.reset()
    for cwd in ("", "nested", "module", str(nested)):
        answers = await look(reactor, path, environ, cwd)
        assert [answer["success"] for answer in answers] == [True] * 5, answers
        assert "file.txt" in answers[0]["stdout"]
        assert answers[1]["stdout"].startswith("1\t1\tfile.txt")
        assert "+changed" in answers[3]["stdout"]
        assert "+staged" in answers[4]["stdout"]
    assert traps.sprung == set()
    look_plainly(path)
    assert traps.sprung


@pytest_twisted.ensureDeferred
async def test_the_runner_runs_no_hook_and_for_a_checkout_only_filters(
    reactor, tmp_path, traps, environ
):
    path = make_repository(tmp_path / "project")
    set_traps(path, traps)
    git(path, "config", "filter.evil.required", "false")
    git(path, "config", "--unset", "filter.evil.process")
    traps.reset()
    worktrees = Worktrees(Git(reactor, environ))
    chosen = await worktrees.choose(str(path), "x")
    assert not await worktrees.is_linked(str(path))
    assert traps.sprung == set()
    assert await worktrees.add(chosen) is None
    assert await worktrees.is_linked(chosen.path)
    assert traps.sprung <= {"filter.evil.smudge", "filter.evil.clean"}
    assert (tmp_path / "project-worktrees/x/file.txt").read_text() == "committed\n"
    await worktrees.remove(chosen)
    assert traps.sprung <= {"filter.evil.smudge", "filter.evil.clean"}
    git(path, "worktree", "add", "-q", "-b", "plain", str(tmp_path / "plain"))
    assert "hook-post-checkout" in traps.sprung


def test_git_runs_only_where_these_tests_look():
    users = set()
    for path in (ROOT / "hapi").rglob("*.py"):
        words = {node.value for node in ast.walk(ast.parse(path.read_text())) if is_text(node)}
        if "git" in words:
            users.add(str(path.relative_to(ROOT / "hapi")))
    assert users == {
        "process/git.py",  # which the session's rpc/git.py and the runner's worktrees.py use
        "cli/checks/local_checks.py",  # whether git is installed
        "session/rpc/git_directory.py",  # the name of the directory of its settings
    }


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


# --- directories that are made to mislead


@pytest_twisted.ensureDeferred
async def test_a_working_tree_elsewhere_is_not_shown(reactor, tmp_path, environ):
    path = make_repository(tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file.txt").write_text("secret\n")
    git(path, "config", "core.worktree", str(tmp_path / "elsewhere"))
    answers = await look(reactor, path, environ)
    assert not any(answer["success"] for answer in answers)
    assert "secret" not in str(answers)
    assert "outside the working directory" in answers[0]["error"]


@pytest_twisted.ensureDeferred
async def test_a_directory_that_looks_like_a_bare_repository_is_not_taken_for_one(
    reactor, tmp_path, traps, environ
):
    path = make_repository(tmp_path / "project")
    hostile = make_repository(tmp_path / "hostile")
    set_keys(hostile, [("core.worktree", str(path)), ("core.bare", "false")])
    a_monitor(hostile, traps)
    shutil.copytree(hostile / ".git", path / "images")
    answers = await look(reactor, path, environ, "images")
    assert "bare repository" in answers[0]["error"]
    look_plainly(path / "images")
    assert traps.sprung == {"fsmonitor"}


@pytest_twisted.ensureDeferred
async def test_programs_of_a_git_directory_to_which_a_file_points_do_not_run(
    reactor, tmp_path, traps, environ
):
    hostile = make_repository(tmp_path / "hostile")
    a_monitor(hostile, traps)
    path = tmp_path / "project"
    path.mkdir()
    (path / ".git").write_text(f"gitdir: {hostile}/.git\n")
    (path / "file.txt").write_text("changed\n")
    answers = await look(reactor, path, environ)
    assert answers[0]["success"]
    assert traps.sprung == set()
    look_plainly(path)
    assert traps.sprung == {"fsmonitor"}


@pytest_twisted.ensureDeferred
async def test_an_index_without_end_does_not_fill_the_disk(reactor, tmp_path, environ):
    path = make_repository(tmp_path / "project")
    os.truncate(path / ".git/index", 1 << 40)  # a sparse file
    answer = (await look(reactor, path, environ))[0]
    assert "too large" in answer["error"]
    (path / ".git/index").unlink()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", [":/", ":(top)", "*", ":!file.txt"])
async def test_a_path_is_a_name_and_no_pattern(reactor, tmp_path, environ, path):
    project = make_repository(tmp_path / "project")
    change(project)
    methods = GitMethods(reactor, ConfinedDirectory(project), environ)
    answer = await methods.diff_file({"cwd": "", "filePath": path})
    assert (answer["success"], answer["stdout"]) == (True, "")


@pytest_twisted.ensureDeferred
async def test_links_executables_and_deleted_files_are_compared_as_what_they_are(
    reactor, tmp_path, environ
):
    project = make_repository(tmp_path / "project")
    for name in ("program", "deep/er/text", "gone"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("one\n")
    (project / "link").symlink_to("/one")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "second")
    (project / "program").chmod(0o755)
    (project / "link").unlink()
    (project / "link").symlink_to("/two")
    (project / "gone").unlink()
    (project / "deep/er/text").write_bytes(b"one\r\ntwo\r\n")
    (project / "deep/.gitattributes").write_text("text text\n")
    methods = GitMethods(reactor, ConfinedDirectory(project), environ)

    async def difference(path):
        answer = await methods.diff_file({"cwd": "", "filePath": path})
        assert answer["success"], answer
        return answer["stdout"]

    assert "old mode 100644\nnew mode 100755\n" in await difference("program")
    assert "-/one\n" in await difference("link")
    assert "+/two\n" in await difference("link")
    assert "deleted file mode 100644" in await difference("gone")
    assert (await difference(str(project / "deep/er/text"))).endswith(" one\n+two\n")
    assert await difference("nothing") == ""
    assert await difference("file.txt") == ""
    assert "+two" in await difference("deep/er")


@pytest_twisted.ensureDeferred
async def test_no_difference_shows_the_outside_while_links_are_exchanged(
    reactor, tmp_path, environ
):
    project, outside = make_repository(tmp_path / "project"), tmp_path / "outside"
    for directory in (project, project / "folder", outside):
        directory.mkdir(exist_ok=True)
        (directory / "file").write_text("secret\n" if directory == outside else "committed\n")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "second")
    for directory in (project, project / "folder"):
        (directory / "file").write_text("changed\n")
    command = [sys.executable, "-I", SUPPORT / "link_swapper.py", project, outside]
    methods, shown = GitMethods(reactor, ConfinedDirectory(project), environ), []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for number in range(100):
            path = ("file", "folder/file")[number % 2]
            shown.append(str(await methods.diff_file({"cwd": "", "filePath": path})))
        process.kill()
    assert not [text for text in shown if "secret" in text]
    assert any("+changed" in text for text in shown)


@pytest_twisted.ensureDeferred
async def test_a_look_changes_nothing_and_leaves_nothing(reactor, tmp_path, environ, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = make_repository(tmp_path / "project")
    change(path)
    os.utime(path / "staged.txt", (1, 1))

    def contents():
        return {
            found: (found.stat().st_mtime_ns, found.read_bytes())
            for found in path.rglob("*")
            if found.is_file()
        }

    before = contents()
    await look(reactor, path, environ)
    assert contents() == before
    assert list(temporary.iterdir()) == []


# --- Git LFS, without its program


def with_lfs(path, traps, *names, key="filter.lfs.clean"):
    """A repository in which the files called `names` are pointers, and lie on the disk."""
    make_repository(path)
    (path / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    for name in names:
        content = f"the large file {name}\n".encode()
        digest = hashlib.sha256(content).hexdigest()
        (path / name).write_text(
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{digest}\nsize {len(content)}\n"
        )
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "pointers")
    for name in names:
        (path / name).write_bytes(f"the large file {name}\n".encode())
    set_keys(path, [(key, traps.command("clean"))])
    return path


@pytest_twisted.ensureDeferred
async def test_large_files_that_are_unchanged_are_not_shown_as_modified(
    reactor, tmp_path, traps, environ
):
    path = with_lfs(tmp_path / "project", traps, "same.bin", "a b.bin", "changed.bin")
    (path / "changed.bin").write_bytes(b"another content")
    (path / "file.txt").write_text("changed\n")
    status, numstat, _, _, _ = await look(reactor, path, environ)
    assert [line.split(" ", 8)[1::7] for line in status["stdout"].splitlines()[2:]] == [
        [".M", "changed.bin"],
        [".M", "file.txt"],
    ]
    assert [line.split("\t")[2] for line in numstat["stdout"].splitlines()] == [
        "changed.bin",
        "file.txt",
    ]
    methods = GitMethods(reactor, ConfinedDirectory(path), environ)
    same = await methods.diff_file({"cwd": "", "filePath": "same.bin"})
    changed = await methods.diff_file({"cwd": "", "filePath": "changed.bin"})
    assert (same["success"], same["stdout"]) == (True, "")
    assert "+another content" in changed["stdout"]
    assert traps.sprung == set()


@pytest_twisted.ensureDeferred
async def test_a_large_file_that_is_staged_and_unchanged_since_is_shown_as_staged(
    reactor, tmp_path, traps, environ
):
    path = with_lfs(tmp_path / "project", traps, "same.bin")
    git(path, "reset", "-q", "--soft", "HEAD~1")
    status = (await look(reactor, path, environ))[0]["stdout"]
    assert [line[:4] for line in status.splitlines() if "same.bin" in line] == ["1 A."]


@pytest_twisted.ensureDeferred
async def test_a_pointer_decides_only_for_files_of_git_lfs(reactor, tmp_path, traps, environ):
    path = with_lfs(tmp_path / "project", traps, "same.bin")
    (path / ".gitattributes").write_text("")
    assert "1 .M N... " in (await look(reactor, path, environ))[0]["stdout"]
    (path / ".gitattributes").write_text("*.bin filter=lfs\n")
    (path / "same.bin").unlink()
    (path / "same.bin").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("the large file same.bin\n")
    assert "same.bin" in (await look(reactor, path, environ))[0]["stdout"]


def test_only_plain_pointers_are_read():
    oid, digest = "a" * 40, "b" * 64
    head = "version https://git-lfs.github.com/spec/v1\n"
    plain = f"{head}oid sha256:{digest}\nsize 12\n"
    assert pointers(f"{oid} blob 127\n{plain}\n") == {oid: Pointer(digest, 12)}
    for other in (
        f"{head}ext-0-x sha256:{digest}\noid sha256:{digest}\nsize 12\n",
        f"{plain}more\n",
        f"x{plain}",
        f"{head}oid sha256:{digest}\nsize -1\n",
    ):
        assert pointers(f"{oid} blob 127\n{other}\n") == {}
    assert pointers(f"{oid} missing\n") == {}


# --- what is kept of a configuration


@pytest_twisted.ensureDeferred
async def test_what_decides_how_files_compare_is_kept(reactor, tmp_path, environ):
    path = make_repository(tmp_path / "project")
    (path / "dos.txt").write_bytes(b"a\r\nb\r\n")
    (tmp_path / "home/ignored").write_text("*.log\n")
    set_keys(path, [("core.autocrlf", "true"), ("core.fileMode", "false")])
    mine = tmp_path / "home/.gitconfig"
    set_keys(path, [("core.excludesFile", "~/ignored")], "--file", str(mine))
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "second")
    git(path, "branch", "upstream", "HEAD~1")
    set_keys(path, [("branch.main.remote", "."), ("branch.main.merge", "refs/heads/upstream")])
    os.utime(path / "dos.txt", (1, 1))
    (path / "file.txt").chmod(0o755)
    (path / "x.log").write_text("")
    (path / 'täst "x".txt').write_text("")
    status = (await look(reactor, path, environ))[0]["stdout"].splitlines()
    assert status[1:] == [
        "# branch.head main",
        "# branch.upstream upstream",
        "# branch.ab +1 -0",
        '? "täst \\"x\\".txt"',
    ]


@pytest_twisted.ensureDeferred
async def test_a_remote_s_branch_is_the_upstream(reactor, tmp_path, environ):
    origin = make_repository(tmp_path / "origin")
    git(tmp_path, "clone", "-q", str(origin), "project")
    path = tmp_path / "project"
    status = (await look(reactor, path, environ))[0]["stdout"].splitlines()
    assert status[1:] == [
        "# branch.head main",
        "# branch.upstream origin/main",
        "# branch.ab +0 -0",
    ]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", ["worktree", "separate", "sha256", "split index", "unborn", "sub"])
async def test_every_kind_of_repository_can_be_looked_at(reactor, tmp_path, environ, kind):
    path = tmp_path / "project"
    cwd = path
    if kind == "worktree":
        make_repository(tmp_path / "main")
        git(tmp_path / "main", "worktree", "add", "-q", "-b", "side", str(path))
    elif kind == "sha256":
        path.mkdir()
        git(path, "init", "-q", "--object-format=sha256")
        (path / "file.txt").write_text("committed\n")
        git(path, "add", ".")
        git(path, "commit", "-q", "-m", "first")
    elif kind == "unborn":
        path.mkdir()
        git(path, "init", "-q", "-b", "trunk")
        (path / "staged.txt").write_text("staged\n")
        git(path, "add", ".")
    else:
        make_repository(path)
    if kind == "separate":
        git(path, "init", "-q", "--separate-git-dir", str(tmp_path / "elsewhere.git"))
    if kind == "split index":
        git(path, "update-index", "--split-index")
    if kind == "sub":
        cwd = path / "sub"
        cwd.mkdir()
        (cwd / "file.txt").write_text("one\n")
        git(path, "add", ".")
        (cwd / "file.txt").write_text("two\n")
    if kind != "unborn":
        (path / "file.txt").write_text("changed\n")
    status, numstat, _, diff, _ = await look(reactor, cwd, environ)
    assert status["success"], status
    if kind == "unborn":
        assert "branch.head trunk" in status["stdout"]
        return
    assert "file.txt" in status["stdout"]
    assert "1\t1\tfile.txt" in numstat["stdout"]
    assert ("+two" if kind == "sub" else "+changed") in diff["stdout"]


def test_a_configuration_is_written_as_git_reads_it(tmp_path):
    settings = [
        ("core.autocrlf", "input"),
        ("core.filemode", None),
        ('branch.a "b" \\c.merge', 'refs/heads/"x" \\y # ;\ttab\nline'),
        ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
        ("remote.origin.fetch", " two "),
        ("core.eol", "lf\n[core]\n\tfsmonitor = trap"),
    ]
    (tmp_path / "config").write_text(format_settings(settings))
    assert read_settings(git(tmp_path, "config", "--file", "config", "--list", "-z")) == settings


@pytest.mark.parametrize(
    "key",
    [
        "core.fsmonitor",
        "core.hookspath",
        "filter.x.clean",
        "include.path",
        "remote.origin.url",
        "branch.x\n.remote",
        "extensions.partialclone",
        "extensions.worktreeconfig",
        "core.worktree",
        "core.eolx",
    ],
)
def test_no_other_key_is_kept(key):
    assert harmless_settings([(key, "value")], "/home") == []
