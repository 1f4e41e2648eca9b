"""Git LFS without its program: which files on the disk are those that their pointers name.

A repository that uses Git LFS holds pointers, and a filter replaces them by large files. A look at
the changes runs no filter, so it compares pointers with files, and each file of which git does not
know that it is unchanged seems to be modified. A pointer names the SHA-256 of its file (git-lfs,
docs/spec.md), so the comparison needs no program.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from attrs import frozen

from hapi.confined_directory import ConfinedDirectory, PathNotAllowed

MAX_FILES = 1000  # files compared in one look
MAX_SIZE = 256 << 20  # bytes read in one look; what is beyond them counts as modified
_CHUNK = 1 << 20  # bytes
# A pointer with extensions stands for what their programs make of a file.
_POINTER = (
    r"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n"
)


@frozen
class Pointer:
    """The file that a pointer stands for."""

    sha256: str
    size: int  # bytes


def modified_blobs(raw: str) -> dict[str, str]:
    """The names of modified regular files and the blobs in the index, from the output of
    `git diff --raw -z --no-abbrev --no-renames`."""
    fields = raw.split("\0")
    found = {}
    for facts, name in zip(fields[::2], fields[1::2], strict=False):
        words = facts.split(" ")
        if len(words) == 5 and words[0].startswith(":100") and words[4] == "M":
            found[name] = words[2]
    return found


def filtered_names(attributes: str) -> set[str]:
    """The names of files of Git LFS, from the output of `git check-attr -z filter`."""
    fields = attributes.split("\0")
    values = zip(fields[::3], fields[2::3], strict=False)
    return {name for name, value in values if value == "lfs"}


def pointers(batch: str) -> dict[str, Pointer]:
    """The pointers among the blobs in the output of `git cat-file --batch`, by their object ids."""
    found = re.finditer(rf"^([0-9a-f]{{40,64}}) blob \d+\n{_POINTER}$", batch, re.MULTILINE)
    return {match[1]: Pointer(match[2], int(match[3])) for match in found}


def unchanged_files(
    directory: ConfinedDirectory, worktree: str, wanted: Mapping[str, Pointer]
) -> set[str]:
    """Those of the names in `wanted` whose files below `worktree` are the ones that the pointers
    stand for. What is outside of `directory` or cannot be read is left out."""
    unchanged, budget = set(), MAX_SIZE
    for name, pointer in list(wanted.items())[:MAX_FILES]:
        with suppress(OSError, PathNotAllowed):
            path = os.path.join(worktree, name)
            if pointer.size > budget or directory.stat(path).st_size != pointer.size:
                continue
            budget -= pointer.size
            if _sha256(directory, path, pointer.size) == pointer.sha256:
                unchanged.add(name)
    return unchanged


def _sha256(directory: ConfinedDirectory, path: str, size: int) -> str:
    """The hash of the file, of which at most a little more than `size` bytes are read."""
    digest = hashlib.sha256()
    with open(path, "rb", opener=directory.open) as file:
        while size >= 0 and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
            size -= len(chunk)
    return digest.hexdigest()


def without_unchanged(lines: Iterable[str], unchanged: Collection[str]) -> str:
    """The lines of `git status --porcelain=v2` or `git diff --numstat`, corrected."""
    return "".join(
        kept for line in lines if (kept := _corrected(line, line.rstrip("\n"), unchanged))
    )


def _corrected(line: str, text: str, unchanged: Collection[str]) -> str:
    if text.startswith("1 "):  # `1 XY sub mH mI mW hH hI path`
        *facts, name = text.split(" ", 8)
        if name not in unchanged or facts[1][1] != "M":
            return line
        facts[1] = f"{facts[1][0]}."
        return "" if facts[1] == ".." else " ".join([*facts, name]) + "\n"
    added, _, rest = text.partition("\t")  # `added TAB deleted TAB path`
    return "" if rest.partition("\t")[2] in unchanged and added else line
