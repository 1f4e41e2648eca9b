"""Small mistakes made on purpose in the parts that must not fail: do their tests notice? (the
figure G17)

`python -m benchmarks.mutants [--each N] [--seed S] [NAME…]` copies the project, changes one place
of one module at a time — a comparison turned, `and` for `or`, a condition negated, a number off by
one, an answer exchanged, a statement left out — and runs the tests of that module. A mutant whose
tests pass has survived, and is printed with its line.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
MODULES: dict[str, list[str]] = {  # module → the tests that ought to notice
    "runner/control/guard.py": ["tests/runner/control/test_guard.py"],
    "runner/control/api.py": ["tests/runner/control/test_guard.py"],
    "runner/control/site.py": ["tests/runner/control/test_guard.py"],
    "runner/control/peer_credentials.py": ["tests/runner/control/test_guard.py"],
    "runner/lock/stale.py": [
        "tests/runner/lock/test_stale.py",
        "tests/runner/lock/test_home_lock.py",
    ],
    "runner/lock/npm_lock.py": ["tests/runner/lock/test_home_lock.py"],
    "runner/lock/home_lock.py": ["tests/runner/lock/test_home_lock.py"],
    "runner/lock/flock.py": ["tests/runner/lock/test_home_lock.py"],
    "runner/handoff/upgrade.py": ["tests/runner/handoff/test_upgrade.py"],
    "runner/handoff/outgoing.py": [
        "tests/runner/handoff/test_outgoing.py",
        "tests/runner/handoff/test_coordinator.py",
    ],
    "runner/handoff/descriptors.py": ["tests/runner/handoff/test_descriptors.py"],
    "process/identity.py": ["tests/process", "tests/runner/lock/test_home_lock.py"],
    "process/tree.py": ["tests/process"],
    "protocol/engineio.py": [
        "tests/protocol/test_engineio.py",
        "tests/protocol/test_socketio.py",
        "tests/protocol/test_channel.py",
    ],
    "protocol/socketio.py": ["tests/protocol/test_socketio.py"],
    "protocol/channel.py": ["tests/protocol/test_channel.py"],
}
PAIRS = [
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
]
TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = dict([*PAIRS, *(pair[::-1] for pair in PAIRS)])
LEFT_ALONE = {
    "info",
    "warn",
    "error",
    "debug",
    "failure",
    "_step",
}  # what a log says is not held by tests; steps are for tests


class Changes(ast.NodeVisitor):
    """Every place that can be changed: (line, what is done)."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str]] = []

    def visit(self, node: ast.AST) -> None:
        match node:
            case ast.Compare(ops=[op]) if type(op) in TURNED:
                self.found.append((node, "turn the comparison"))
            case ast.BoolOp():
                self.found.append((node, "and for or"))
            case ast.UnaryOp(op=ast.Not()):
                self.found.append((node, "leave out not"))
            case ast.Constant(value=bool()):
                self.found.append((node, "the other truth"))
            case ast.Constant(value=int() | float()):
                self.found.append((node, "one more"))
            case ast.If() | ast.While():
                self.found.append((node, "negate the condition"))
            case ast.Expr(value=ast.Call(func=func)) if getattr(func, "attr", "") not in LEFT_ALONE:
                self.found.append((node, "leave out the call"))
            case ast.AnnAssign() | ast.Assign(targets=[ast.Name(id="__all__")]):
                pass
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.arguments) and child is not getattr(
                node, "annotation", None
            ):
                self.visit(child)


def change(node: ast.AST, what: str) -> None:
    match node, what:
        case ast.Compare(), _:
            node.ops = [TURNED[type(node.ops[0])]()]
        case ast.BoolOp(), _:
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp(), _:
            node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        case ast.Constant(), "the other truth":
            node.value = not node.value
        case ast.Constant(), _:
            node.value += 1
        case ((ast.If() | ast.While()), _):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Expr(), _:
            node.value = ast.Constant(None)


def mutants(source: str, each: int, random: Random) -> Iterator[tuple[int, str, str]]:
    """(line, what, changed source), `each` of them at most, chosen at random."""
    tree = ast.parse(source)
    places = Changes()
    places.visit(tree)
    chosen = random.sample(range(len(places.found)), min(each, len(places.found)))
    for number in sorted(chosen):
        changed = copy.deepcopy(tree)
        again = Changes()
        again.visit(changed)
        node, what = again.found[number]
        change(node, what)
        yield getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(changed))


def noticed(place: Path, tests: list[str]) -> bool:
    """Whether the tests fail, or hang."""
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            argv, cwd=place, env=environment, capture_output=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutants", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--each", type=int, default=10, help="mutants of each module")
    parser.add_argument("--seed", default="1")
    parser.add_argument("names", nargs="*", help="modules; all when none is named")
    wanted = parser.parse_args(arguments)
    counts = [0, 0]
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        for name in ("hapi", "tests", "twisted", "docs", "setup.cfg", "pyproject.toml"):
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copied(ROOT / name, place / name)  # type: ignore[operator]
        for name in wanted.names or MODULES:
            path = place / "hapi" / name
            source = path.read_text()
            if noticed(place, MODULES[name]):
                print(f"{name}: its tests fail as it is")
                continue
            for line, what, changed in mutants(
                source, wanted.each, Random(f"{wanted.seed}:{name}")
            ):
                path.write_text(changed)
                seen = noticed(place, MODULES[name])
                counts[seen] += 1
                if not seen:
                    print(
                        f"survived: {name}:{line} {what}: {source.splitlines()[line - 1].strip()}",
                        flush=True,
                    )
            path.write_text(source)
            print(f"{name}: {counts[1]} of {sum(counts)} noticed so far", flush=True)
    print(f"{counts[1]} of {sum(counts)} mutants noticed, seed {wanted.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
