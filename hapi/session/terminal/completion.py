"""What the line can be completed to: the agent's commands after `/`, names of files after `@`."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from attrs import define
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from hapi.process.git import Git
from hapi.session.rpc.file_search import files_below, ranked

MAX_SHOWN = 8  # completions under the line
MAX_FOUND = 50  # completions to choose from
LISTING_TTL = 5.0  # seconds that a listing of files is used
MAX_LISTED = 50_000  # files
GIT_TIMEOUT = 3.0  # seconds
_COMMAND = re.compile(r"\A/([^\s/]*)\Z")
_FILE = re.compile(r'(?:^|(?<=\s))@(?:"([^"\n]*)|([^\s"]*))\Z', re.MULTILINE)
_OUTSIDE = re.compile(r"(?:\.\.?|~)?/|(?:\.\.|~)\Z")  # a path that is no search
MAX_ENTRIES = 5_000  # of a directory that is listed

Commands = Sequence[tuple[str, str | None]]


@define(eq=False, repr=False)
class FileLister:
    """Names of the files below `directory`: those that git does not ignore, or else all but those
    of tools and caches. Nothing waits for it but the completion itself."""

    _reactor: Any
    _environ: Mapping[str, str]
    _directory: str
    in_thread: Callable[..., Awaitable[Any]]
    _names: list[str] | None = None
    _listed_at: float = 0.0

    async def find(self, query: str) -> list[str]:
        """The names that contain the letters of `query` in order, the closest first; directories
        end with `/`. A `query` such as `../`, `/` or `~/` lists that directory alone."""
        if _OUTSIDE.match(query):
            home = self._environ.get("HOME", "")
            listed: list[str] = await self.in_thread(entries, self._directory, home, query)
            return listed
        now = self._reactor.seconds()
        if self._names is None or now - self._listed_at > LISTING_TTL:
            names = (await self._list())[:MAX_LISTED]
            self._names = [*_directories_of(names), *names]
            self._listed_at = now
        found: list[str] = await self.in_thread(ranked, self._names, query, MAX_FOUND)
        return found

    async def _list(self) -> list[str]:
        git = Git(self._reactor, self._environ, GIT_TIMEOUT)
        listed = await git.run(
            self._directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard"
        )
        if listed.exit_code == 0:
            return [name for name in listed.stdout.split("\0") if name]
        found: list[str] = await self.in_thread(_walk, self._directory)
        return found


def _directories_of(names: Iterable[str]) -> list[str]:
    """The directories in which these files are, each with `/` at its end."""
    found: set[str] = set()
    for name in names:
        parent = name.rpartition("/")[0]
        while parent and f"{parent}/" not in found:
            found.add(f"{parent}/")
            parent = parent.rpartition("/")[0]
    return sorted(found)


def entries(directory: str, home: str, query: str) -> list[str]:
    """What begins as the path `query` does, seen from `directory`: at most MAX_FOUND paths that are
    written as `query` is. May block: for a thread."""
    shown, slash, begun = query.rpartition("/")
    if not slash:  # `..` or `~`
        return [f"{query}/"]
    shown += slash
    place = f"{home}/{shown[2:]}" if shown.startswith("~/") else os.path.join(directory, shown)
    found = []
    try:
        with os.scandir(place) as listing:
            for entry in islice(listing, MAX_ENTRIES):
                is_wanted = entry.name.lower().startswith(begun.lower())
                if is_wanted and (begun or not entry.name.startswith(".")):
                    found.append(f"{shown}{entry.name}{'/' if entry.is_dir() else ''}")
    except OSError:
        return []
    return sorted(found)[:MAX_FOUND]


def _walk(directory: str) -> list[str]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return list(files_below(descriptor))
    finally:
        os.close(descriptor)


class LineCompleter(Completer):
    """`commands` returns the agent's commands. `find` is awaited in prompt_toolkit's loop, for the
    names of files that a text may mean. `shown` makes a text printable."""

    def __init__(
        self,
        commands: Callable[[], Commands],
        find: Callable[[str], Awaitable[Sequence[str]]],
        shown: Callable[[str], str],
    ) -> None:
        self._commands, self._find, self._shown = commands, find, shown

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """The commands; files take time, see below."""
        text = document.text_before_cursor
        if (found := _COMMAND.match(text)) is None:
            return
        wanted = found[1].lower()
        for name, description in self._commands():
            if name.lower().startswith(wanted):
                yield Completion(
                    f"/{name} ",
                    -len(text),
                    display=self._shown(f"/{name}"),
                    display_meta=self._shown(description or ""),
                )

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        for command in self.get_completions(document, complete_event):
            yield command
        found = _FILE.search(document.text_before_cursor)
        if found is None:
            return
        query = found[2] if found[1] is None else found[1]
        for name in await self._find(query):
            if self._shown(name) == name and '"' not in name:
                yield Completion(_mention(name), -len(found[0]), display=f"@{name}")


def _mention(name: str) -> str:
    """A file or directory as it is written in a prompt. Claude Code reads `@"a name"`; to other
    agents it is text, which their model reads. A directory may go on, so no space follows it."""
    is_open = name.endswith("/")
    if " " not in name:
        return f"@{name}" if is_open else f"@{name} "
    return f'@"{name}' if is_open else f'@"{name}" '
