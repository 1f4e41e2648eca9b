"""Which test covers which fault: read from the names of the tests, written into
docs/reliability.md.

`python tests/faults/table.py` says what is missing; with `--write` it brings the table in the
documentation up to date, with `--names` it prints pytest's `-k` expression for the tests that name
a fault.
"""

import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
NAMED = re.compile(r"(?:def|async def) (test_\w+?)((?:_+[A-Z]\d\d)+)\(")
SHOWN = 2  # tests a row names; the rest is counted


def faults() -> dict[str, dict[str, str]]:
    """Group letter → {"about": …, id: words}, and "untested": {id: reason}."""
    return tomllib.loads(Path(__file__).with_name("faults.toml").read_text())


def named_by_tests() -> dict[str, list[str]]:
    """Fault id → the tests that name it, as `file: test`."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for match in NAMED.finditer(path.read_text()):
            for fault in re.findall(r"[A-Z]\d\d", match[2]):
                found[fault].append(f"{path.relative_to(ROOT / 'tests')}: {match[1]}")
    return found


def table() -> str:
    groups, tests = faults(), named_by_tests()
    untested = groups.pop("untested", {})
    lines = []
    for letter, group in groups.items():
        ids = [name for name in group if name != "about"]
        covered = sum(name in tests for name in ids)
        lines += ["", f"### {letter}: {group['about']} ({covered} of {len(ids)})", ""]
        lines += ["| id | fault | tests |", "| --- | --- | --- |"]
        lines += [
            f"| {name} | {_cell(group[name])} | {_tests(tests.get(name, []), untested.get(name))} |"
            for name in ids
        ]
    return "\n".join(lines) + "\n"


def missing() -> list[str]:
    """Ids with neither a test nor a reason."""
    groups, tests = faults(), named_by_tests()
    untested = groups.pop("untested", {})
    return [
        name
        for group in groups.values()
        for name in group
        if name != "about" and name not in tests and name not in untested
    ]


def page() -> str:
    """docs/reliability.md with the present table."""
    before, rest = PAGE.read_text().split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def _tests(tests: list[str], reason: str | None) -> str:
    if not tests:
        return f"none: {_cell(reason or 'not yet')}"
    more = f" and {len(tests) - SHOWN} more" if len(tests) > SHOWN else ""
    return "; ".join(f"`{test}`" for test in tests[:SHOWN]) + more


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def selection() -> str:
    """What pytest's `-k`, which knows no patterns, needs to find the tests that name a fault."""
    return " or ".join(
        f"__{letter}{tens}" for letter in faults() if letter != "untested" for tens in range(3)
    )


if __name__ == "__main__":
    if "--names" in sys.argv[1:]:
        sys.exit(print(selection()))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page())
    groups = faults()
    groups.pop("untested", None)
    every = [name for group in groups.values() for name in group if name != "about"]
    tests = named_by_tests()
    print(
        f"{sum(name in tests for name in every)} of {len(every)} faults have a test that names them"
    )
    print("neither test nor reason:", " ".join(missing()) or "none")
