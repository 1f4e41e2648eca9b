"""A stand-in for a repository's git directory, in which nothing names a program.

Many keys of git's configuration name programs that `git status` and `git diff` run: filters, file
system monitors, differs, text converters, helpers by which missing objects are fetched. Whoever
wrote the repository wrote its configuration, so looking at it must not run them. Instead of
forbidding the known keys, a look gets a git directory of its own: objects, references and ignored
files are those of the repository, the index is a copy, and the configuration holds only the keys
listed here, none of which names a program. There are no hooks. The configurations of the user and
the system are not read either, because the repository's attributes choose from what they define.
This needs git 2.13, for `rev-parse --absolute-git-dir`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

MAX_HEAD_SIZE = 4096  # bytes
MAX_INDEX_SIZE = 256 << 20  # bytes; 2 million files have about as much
# What decides how files are compared and shown. git-config(1) lists all keys.
_HARMLESS = re.compile(
    r"""
    core\.(autocrlf | eol | safecrlf | checkroundtripencoding | bigfilethreshold
        | filemode | symlinks | ignorecase | precomposeunicode | protecthfs | protectntfs
        | trustctime | checkstat | sparsecheckout | sparsecheckoutcone
        | excludesfile | attributesfile | repositoryformatversion)
    | extensions\.(objectformat | refstorage)
    | index\.sparse
    | diff\.(renames | renamelimit | algorithm | context | interhunkcontext | indentheuristic
        | noprefix | mnemonicprefix | suppressblankempty)
    | status\.(renames | renamelimit)
    | branch\..+\.(remote | merge)
    | remote\..+\.fetch
    """,
    re.VERBOSE | re.DOTALL,
)
_PATHS = frozenset({"core.excludesfile", "core.attributesfile"})
_SHARED = ("objects", "refs", "packed-refs", "reftable", "shallow", "info/exclude")
_OWN = ("info/sparse-checkout",)

Setting = tuple[str, str | None]  # key and value; None: a key without "=", which means true


@frozen
class Repository:
    """Where a repository lies, as `git rev-parse` tells."""

    worktree: str
    own: str  # the git directory of this worktree
    common: str  # the git directory of all worktrees


def read_settings(listed: str) -> list[Setting]:
    """What `git config --list -z` printed: `key LF value NUL`, or `key NUL`."""
    found: list[Setting] = []
    for entry in listed.split("\0"):
        key, is_assigned, value = entry.partition("\n")
        if key:
            found.append((key, value if is_assigned else None))
    return found


def harmless_settings(settings: Iterable[Setting], home: str) -> list[Setting]:
    """Those that are kept. `~/` in paths is that of the user whose home directory is `home`."""
    kept: list[Setting] = []
    for key, value in settings:
        if _HARMLESS.fullmatch(key) and "\n" not in key:
            is_of_home = key in _PATHS and value is not None and value.startswith("~/")
            kept.append((key, os.path.join(home, value[2:]) if is_of_home and value else value))
    return kept


def format_settings(settings: Iterable[Setting]) -> str:
    """The text of a configuration file (git-config(1), "Syntax")."""
    lines = []
    for key, value in settings:
        section, _, name = key.rpartition(".")
        section, dot, subsection = section.partition(".")
        lines.append(f"[{section} {_quoted(subsection)}]" if dot else f"[{section}]")
        lines.append(f"\t{name}" if value is None else f"\t{name} = {_quoted(value)}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n") + '"'


@frozen
class StandIn:
    """A stand-in and, beside it, an empty directory that can be used as the working tree."""

    directory: Path
    tree: Path

    def environment(self, worktree: str | Path) -> dict[str, str]:
        """The variables by which git uses the stand-in for the files in `worktree`."""
        nowhere = str(self.directory)
        return {
            "GIT_DIR": str(self.directory),
            "GIT_WORK_TREE": str(worktree),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,  # since 2.32; HOME does the same for older versions
            "HOME": nowhere,
            "XDG_CONFIG_HOME": nowhere,
            "GIT_NO_LAZY_FETCH": "1",
        }


@contextmanager
def stand_in(
    repository: Repository, settings: Iterable[Setting], environ: Mapping[str, str]
) -> Iterator[StandIn]:
    """A stand-in for the git directory of `repository`, until the end of the `with` block. Raises
    OSError.

    `settings`: those of the repository, of the user and of the system.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    user = os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "git")
    defaults: list[Setting] = [
        ("core.excludesfile", os.path.join(user, "ignore")),
        ("core.attributesfile", os.path.join(user, "attributes")),
    ]
    kept = harmless_settings([*defaults, *settings], home)
    always: list[Setting] = [("core.bare", "false"), ("core.quotepath", "false")]
    import tempfile

    top = Path(tempfile.mkdtemp(prefix="hapi-git-"))
    place, tree = top / "git", top / "tree"
    try:
        (place / "info").mkdir(parents=True)
        tree.mkdir()
        text = format_settings([*kept, *always])
        (place / "config").write_bytes(text.encode(errors="surrogateescape"))
        (place / "HEAD").write_bytes(_read_head(repository.own))
        for names, source in ((_SHARED, repository.common), (_OWN, repository.own)):
            for name in names:
                if os.path.lexists(target := os.path.join(source, name)):
                    (place / name).symlink_to(target)
        _copy_index(repository.own, place)
        yield StandIn(place, tree)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def _read_head(directory: str) -> bytes:
    path = os.path.join(directory, "HEAD")
    with suppress(OSError):  # the old form of a symbolic reference is a symbolic link
        return b"ref: " + os.readlink(os.fsencode(path)) + b"\n"
    with open(path, "rb", opener=_open_at_once) as file:
        return file.read(MAX_HEAD_SIZE)


def _copy_index(directory: str, place: Path) -> None:
    """Copy the index: `git diff` writes one that it finds out of date."""
    with suppress(FileNotFoundError):  # nothing was ever added
        source_path = os.path.join(directory, "index")
        with (
            open(source_path, "rb", opener=_open_at_once) as source,
            open(place / "index", "xb") as copy,
        ):
            facts = os.fstat(source.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_INDEX_SIZE:
                raise OSError(f"{source_path} is too large or not a file")
            rest = MAX_INDEX_SIZE  # it may grow meanwhile
            while rest > 0 and (chunk := source.read(min(1 << 20, rest))):
                rest -= copy.write(chunk)
        # What is as new as the index has to be compared by its content (git's racy-git.txt).
        os.utime(place / "index", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        for name in os.listdir(directory):
            if name.startswith("sharedindex."):
                (place / name).symlink_to(os.path.join(directory, name))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
