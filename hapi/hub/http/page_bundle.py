"""Bundles of the page's modules: one file for those of a directory that are needed at once.

A browser asks for each module by itself, and small files compress badly, so that the first visit
would cost a third more. The modules below `lib`, `data` and `views` that the entry module needs are
put into one module each. The other modules import from it what they imported from one of them.

The page's modules are written so that this is a matter of text, and a test holds them to it: they
import by name only, and the names at their top level differ within a directory. A directory whose
modules are written otherwise is not bundled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from posixpath import dirname, join, normpath, relpath

DIRECTORIES = ("lib", "data", "views")
BUNDLE = "bundle.js"
IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
OTHER_IMPORT = re.compile(r'^(?:import\b(?! \{[^}]*\} from "\.)|export [*{])', re.MULTILINE)
# It begins with what is to be found, which makes the search ten times faster; see `replaced`.
SPECIFIER = re.compile(r'(import(?: \{[^{}]*\} from |\())"(\.[^"]+)"')
OWN_ADDRESS = "import.meta"
DECLARATION = re.compile(
    r"^(?:export )?(?:async )?(?:function|class|const|let) \*?([A-Za-z_$][\w$]*|[{\[])",
    re.MULTILINE,
)


class NotBundled(Exception):
    """The modules of a directory cannot be put into one."""


def bundled(modules: Mapping[str, str], needed: Iterable[str]) -> dict[str, str]:
    """`modules` (their texts by path) with bundles in place of those that are `needed` at once."""
    result = dict(modules)
    for directory in DIRECTORIES:
        members = [path for path in needed if path.startswith(f"{directory}/")]
        if len(members) < 2:
            continue
        path = f"{directory}/{BUNDLE}"
        try:
            text = bundle({member: result[member] for member in members}, path)
        except NotBundled:
            continue
        for member in members:
            del result[member]
        result = {other: redirected(other, found, members, path) for other, found in result.items()}
        result[path] = redirected(path, text, members, path)
    return result


def bundle(members: Mapping[str, str], path: str) -> str:
    """The module `path` with all that `members` have. Raises NotBundled."""
    imported: dict[str, set[str]] = {}  # names by the module outside that has them
    declared: list[str] = []
    bodies = []
    for member in in_order(members):
        text = members[member]
        if OTHER_IMPORT.search(text):
            raise NotBundled(f"{member} imports or exports in another way than by name")
        for names, target in imports_of(member, text):
            if " as " in names:
                raise NotBundled(f"{member} gives an import another name")
            if target not in members:
                found = {name.strip() for name in names.split(",") if name.strip()}
                imported.setdefault(target, set()).update(found)
        if OWN_ADDRESS in text and dirname(member) != dirname(path):
            raise NotBundled(f"{member} uses its own address, which changes")
        declared += DECLARATION.findall(text)
        bodies.append(moved(member, IMPORT.sub("", text), path))
    top_level = [*declared, *(name for found in imported.values() for name in found)]
    twice = {name for name in top_level if top_level.count(name) > 1}
    if twice:
        raise NotBundled(f"more than one module has {', '.join(sorted(twice))}")
    heads = [
        f'import {{ {", ".join(sorted(found))} }} from "{relative(path, target)}";\n'
        for target, found in imported.items()
    ]
    return "".join([*heads, *bodies])


def in_order(members: Mapping[str, str]) -> list[str]:
    """The members, each after those that it imports; a circle begins somewhere."""
    found: list[str] = []
    begun: set[str] = set()

    def add(member: str) -> None:
        if member in begun:
            return
        begun.add(member)
        for _, target in imports_of(member, members[member]):
            if target in members:
                add(target)
        found.append(member)

    for member in members:
        add(member)
    return found


def imports_of(path: str, text: str) -> list[tuple[str, str]]:
    """What the module `path` imports: names, and the path of the module that has them."""
    return [
        (names, normpath(join(dirname(path), target))) for names, target in IMPORT.findall(text)
    ]


def moved(path: str, text: str, target: str) -> str:
    """The text of the module `path` as it imports the same modules from the place `target`."""

    def address(imported: str) -> str:
        return relative(target, normpath(join(dirname(path), imported)))

    return replaced(text, address)


def redirected(path: str, text: str, members: Iterable[str], bundle_path: str) -> str:
    """The module `path` with each import from one of `members` turned into one from the bundle."""
    known = frozenset(members)

    def address(imported: str) -> str:
        target = normpath(join(dirname(path), imported))
        return relative(path, bundle_path) if target in known else imported

    return replaced(text, address)


def replaced(text: str, address: Callable[[str], str]) -> str:
    """`text` with `address` of each relative address that it imports, statically or when needed."""

    def replace(match: re.Match[str]) -> str:
        before = match.string[match.start() - 1] if match.start() else "\n"
        if match[1].endswith("("):
            is_import = not (before.isalnum() or before == "_")
        else:
            is_import = before == "\n"
        return f'{match[1]}"{address(match[2])}"' if is_import else match[0]

    return SPECIFIER.sub(replace, text)


def relative(path: str, target: str) -> str:
    """How the module `path` names the module `target`."""
    found = relpath(target, dirname(path) or ".")
    return found if found.startswith(".") else f"./{found}"
