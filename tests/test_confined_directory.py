"""Directories out of which no path leads: links followed inside, refused outside, and exchanged
while they are followed."""

import errno
import itertools
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hapi.confined_directory import DIRECTORY, MAX_LINKS, ConfinedDirectory, PathNotAllowed
from hapi.hub.http.static import Directory
from hapi.runner.workspace.browse import list_directory
from hapi.runner.workspace.roots import WorkspaceRoots
from hapi.session.rpc.file_search import files_below
from tests.support.paths import SUPPORT

READS = 3000


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "main.py").write_text("main")
    (root / "notes.txt").write_text("notes")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("outside")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "picture").write_text("picture")
    (root / "absolute").symlink_to(root / "src")
    (root / "relative").symlink_to("src/../src")
    (root / "around").symlink_to("../root/src")
    (root / "up").symlink_to("..")
    (root / "escape").symlink_to(tmp_path / "outside")
    (root / "escape-file").symlink_to(tmp_path / "outside" / "file")
    (root / "loop").symlink_to("loop")
    (root / "src" / "deep").symlink_to("../absolute/main.py")
    return root


@pytest.fixture(params=["with O_PATH", "without O_PATH"])
def confined(root, tmp_path, request, monkeypatch):
    if request.param == "without O_PATH":  # as on macOS
        monkeypatch.setattr("hapi.confined_directory.DIRECTORY", DIRECTORY & ~os.O_PATH)
    return ConfinedDirectory(root, (tmp_path / "uploads",))


def read(confined: ConfinedDirectory, path: str) -> str:
    with open(path, opener=confined.open) as file:
        return file.read()


@pytest.mark.parametrize(
    "path",
    [
        "src/main.py",
        "./src//main.py",
        "src/../src/main.py",
        "absolute/main.py",
        "relative/main.py",
        "around/main.py",
        "src/deep",
        "../root/src/main.py",
        "up/root/src/main.py",
        "{root}/src/main.py",
        "{root}/../root/absolute/main.py",
    ],
)
def test_links_and_dots_inside_are_followed(confined, root, path):
    assert read(confined, path.format(root=root)) == "main"


def test_a_second_directory_is_reached_by_its_absolute_path(confined, tmp_path):
    assert read(confined, str(tmp_path / "uploads" / "picture")) == "picture"


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/file",
        "escape",
        "escape/file",
        "escape/nothing",
        "escape-file",
        "up",
        "up/outside/file",
        "src/../../outside/file",
        "/",
        "/etc/passwd",
        "/no/such/place",
        "{root}-other",
        "{root}/../outside",
        "a\0b",
    ],
)
def test_what_is_outside_is_refused_whether_it_exists_or_not(confined, root, path):
    for method in (confined.open, confined.stat):
        with pytest.raises(PathNotAllowed):
            method(path.format(root=root))


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("nothing", errno.ENOENT),
        ("nothing/below", errno.ENOENT),
        ("notes.txt/below", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("loop/below", errno.ELOOP),
        ("x" * 300, errno.ENAMETOOLONG),
        ("\ud800", errno.ENOENT),
    ],
)
def test_the_system_s_error_is_given_inside(confined, path, number):
    with pytest.raises(OSError) as caught:
        confined.stat(path)
    assert caught.value.errno == number


def test_a_chain_of_links_is_followed_up_to_the_limit_of_the_system(confined, root):
    for number in range(MAX_LINKS + 1):
        (root / f"chain{number}").symlink_to(f"chain{number - 1}" if number else "notes.txt")
    assert read(confined, f"chain{MAX_LINKS - 1}") == "notes"
    with pytest.raises(OSError, match="symbolic links"):
        confined.open(f"chain{MAX_LINKS}")


def test_a_link_that_takes_the_place_of_the_root_is_not_followed(confined, root, tmp_path):
    root.rename(tmp_path / "moved")
    root.symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="Not a directory"):
        confined.open("file")
    root.unlink()
    root.mkdir()
    (root / "file").write_text("made anew")
    assert read(confined, "file") == "made anew"


def test_links_can_be_forbidden(root):
    strict = ConfinedDirectory(root, follow_links=False)
    assert read(strict, "src/main.py") == "main"
    for path in ("absolute/main.py", "src/deep"):
        with pytest.raises(OSError, match="symbolic links"):
            strict.open(path)


def test_no_descriptor_stays_open(confined):
    before = os.listdir("/proc/self/fd")
    for path in ("src/main.py", "escape/file", "nothing", "up/root/src/main.py", "/etc"):
        try:
            os.close(confined.open(path))
        except (OSError, PathNotAllowed):
            pass
    assert len(os.listdir("/proc/self/fd")) == len(before)


PARTS = ["..", ".", "src", "escape", "absolute", "relative", "around", "up", "root", "main.py", ""]


@given(st.lists(st.sampled_from([*PARTS, "outside", "file"]), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_what_is_opened_is_what_the_system_resolves_and_inside(root, parts):
    confined = ConfinedDirectory(root)
    path = "/".join(parts).lstrip("/")
    real = os.path.realpath(root / path)
    is_inside = real == str(root) or real.startswith(f"{root}/")
    try:
        found = confined.stat(path)
    except (OSError, PathNotAllowed):
        assert not (is_inside and os.path.exists(root / path))
    else:
        assert is_inside
        assert os.path.samestat(found, os.stat(real))


def test_missing_directories_are_made_inside_only(confined, root, tmp_path):
    confined.makedirs("a/b/c")
    confined.makedirs(str(root / "absolute/d/"))
    assert (root / "a/b/c").is_dir()
    assert (root / "src/d").is_dir()
    with pytest.raises(FileExistsError):
        confined.makedirs("a/b")
    with pytest.raises(NotADirectoryError):
        confined.makedirs("notes.txt/d")
    for path in ("escape/made", "../made", "escape/made/below", str(tmp_path / "made/below")):
        with pytest.raises(PathNotAllowed):
            confined.makedirs(path)
    assert not (tmp_path / "outside/made").exists()
    assert not (tmp_path / "made").exists()


# --- links that are exchanged meanwhile


@pytest.fixture
def swapped(tmp_path):
    """A directory in which `file` and `folder` are exchanged for links to the outside."""
    root, outside = tmp_path / "swapped", tmp_path / "secret"
    for directory, content in ((root / "folder", "inside"), (root, "inside"), (outside, "outside")):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "file").write_text(content)
    (outside / "only-outside").write_text("outside")
    command = [sys.executable, "-I", SUPPORT / "link_swapper.py", root, outside]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield root
        process.kill()


def reads(read_one, paths=("file", "folder/file")) -> list[str]:
    """What `READS` reads found; those that failed are left out."""
    found = []
    for number in range(READS):
        try:
            found.append(read_one(paths[number % len(paths)]))
        except (OSError, PathNotAllowed):
            continue
    assert found, "every read failed"
    return found


def by_name(root: Path, path: str) -> str:
    """The path is checked, and then opened by its name."""
    place = Path(root, path).resolve()
    if root not in place.parents:
        raise PathNotAllowed(path)
    with open(place, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
        return file.read()


def test_the_exchange_of_links_defeats_a_check_by_name(swapped):
    found = set()
    for _ in range(20):  # the time between check and opening is short
        found |= set(reads(lambda path: by_name(swapped, path)))
        if "outside" in found:
            break
    assert found == {"inside", "outside"}


def test_nothing_outside_is_read_while_links_are_exchanged(swapped):
    confined = ConfinedDirectory(swapped)
    assert set(reads(lambda path: read(confined, path))) == {"inside"}


def test_no_facts_of_the_outside_are_told_while_links_are_exchanged(swapped, tmp_path):
    confined, outside = ConfinedDirectory(swapped), (tmp_path / "secret/file").stat()
    found = reads(lambda path: str(confined.stat(path).st_ino))
    assert str(outside.st_ino) not in found


def test_no_program_starts_outside_while_links_are_exchanged(swapped, tmp_path):
    confined = ConfinedDirectory(swapped)

    def directory(path: str) -> str:
        with confined.pinned(path) as pinned:
            return str(os.stat(pinned).st_ino)

    assert str((tmp_path / "secret").stat().st_ino) not in reads(directory, ("folder",))


def test_a_search_lists_nothing_outside_while_links_are_exchanged(swapped):
    confined = ConfinedDirectory(swapped)

    def names(path: str) -> str:
        descriptor = confined.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return " ".join(sorted(files_below(descriptor)))
        finally:
            os.close(descriptor)

    assert not [found for found in reads(names, ("", "folder")) if "only-outside" in found]


def test_no_directory_is_made_outside_while_links_are_exchanged__D03(swapped, tmp_path):
    confined, numbers = ConfinedDirectory(swapped), itertools.count()

    def make(path: str) -> str:
        confined.makedirs(f"{path}/made{next(numbers)}/below")
        return path

    reads(make, ("folder",))
    assert not list((tmp_path / "secret").glob("made*"))


def test_the_web_page_holds_nothing_outside_while_links_are_exchanged__U12(swapped):
    page = Directory(swapped)

    def read_page(path: str) -> str:
        found = page.find(path)
        if found is None:
            raise FileNotFoundError
        return found.file.content.decode()

    assert set(reads(read_page)) == {"inside"}


def test_the_form_for_a_new_session_lists_nothing_outside_while_links_are_exchanged__D03(swapped):
    roots = WorkspaceRoots.parse([str(swapped)])

    def names(path: str) -> str:
        answer = list_directory(roots, {"path": f"{swapped}{path}"})
        if not answer["success"]:
            raise FileNotFoundError
        return " ".join(entry["name"] for entry in answer["entries"])

    assert not [found for found in reads(names, ("/folder",)) if "only-outside" in found]


def test_a_device_or_pipe_is_opened_without_waiting(confined, root):
    os.mkfifo(root / "pipe")
    descriptor = confined.open("pipe")
    assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    os.close(descriptor)
