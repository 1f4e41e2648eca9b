"""Garbage that nearly makes sense: valid samples, changed by a generator with a fixed seed.

`rounds()` says how many inputs a test takes: 10,000 at every change, more with HAPI_FAULTS=release
(the figure G11).
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from tests.support.programs import level

RELEASE = bool(level(0, 1))
SEED = int(os.environ.get("HAPI_SEED", "20261120"))

TEXTS = [
    *(
        "",
        " ",
        "0",
        "-1",
        "s1",
        "PID-1",
        "PID-0",
        "PID-99999",
        "__proto__",
        "constructor",
        "toString",
        "null",
        "true",
        "\x00",
    ),
    *(
        "\x1b[2J",
        "\n",
        "\r\n",
        "..",
        "../..",
        "/",
        "/etc",
        "~",
        "~root",
        "-rf",
        "a" * 513,
        "é",
        "😀",
        "\ud83d",
        "\udcff",
    ),
    *(
        "\u202e",
        "claude",
        "opencode",
        "codex",
        "cursor",
        "demo",
        "worktree",
        "simple",
        "default",
        "yolo",
        "http://[",
        "x" * 5000,
    ),
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    1.5,
    -0.0,
    1e308,
    2**31 - 1,
    2**31,
    2**32,
    2**53,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    10**400,
]
SCALARS: list[Any] = [None, True, False, *NUMBERS, *TEXTS]
TOKENS = [
    *(
        '"',
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\\",
        "\\u",
        "\\ud800",
        "NaN",
        "Infinity",
        "1e999",
        "-",
        "/",
        "//",
        "\x00",
        "\xff",
        "é",
        "😀",
    ),
    *(
        "/cli,",
        '"__proto__"',
        "[" * 300,
        '{"a":' * 200,
        "0" * 40,
        "9" * 20,
        "true",
        "null",
        " ",
        "\n",
        "\t",
        "\ufeff",
        "_placeholder",
    ),
]


def rounds(release: int = 1_000_000, every_change: int = 10_000) -> int:
    """How many inputs to try."""
    return level(every_change, release)


class Garbage:
    """Each call gives another changed sample; the same seed gives the same ones."""

    def __init__(self, name: str) -> None:
        self.random = Random(f"{SEED}:{name}")

    def scalar(self) -> Any:
        return self.random.choice(SCALARS)

    def value(self, depth: int = 0) -> Any:
        """Any JSON value, not very large."""
        kind = self.random.random()
        if depth > 3 or kind < 0.6:
            return self.scalar()
        if kind < 0.7:
            return self.nested(self.random.choice((5, 70, 200)))
        if kind < 0.85:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.text(): self.value(depth + 1) for _ in range(self.random.randrange(4))}

    def nested(self, depth: int) -> Any:
        made: Any = self.scalar()
        for _ in range(depth):
            made = [made] if self.random.random() < 0.5 else {"a": made}
        return made

    def text(self) -> str:
        return str(self.random.choice(TEXTS))

    def changed(self, sample: Any, spare: Sequence[Any] = ()) -> Any:
        """A copy of the JSON value `sample` with one to three places changed; `spare` gives parts
        of other samples."""
        made = copy.deepcopy(sample)
        for _ in range(self.random.randrange(1, 4)):
            made = self._change(made, spare)
        return made

    def _change(self, made: Any, spare: Sequence[Any]) -> Any:
        if not isinstance(made, dict | list) or not made or self.random.random() < 0.08:
            return (
                copy.deepcopy(self.random.choice(spare))
                if spare and self.random.random() < 0.3
                else self.value()
            )
        key: Any = (
            self.random.choice(list(made))
            if isinstance(made, dict)
            else self.random.randrange(len(made))
        )
        what = self.random.random()
        if what < 0.35:
            made[key] = self._change(made[key], spare)
        elif what < 0.5:
            del made[key]
        elif what < 0.8 or isinstance(made, list):
            made[key] = self.value()
        elif what < 0.9:
            made[self.text()] = made[key]
        else:
            made[self.text()] = self.value()
        return made

    def mangled(self, text: str) -> str:
        """`text` with one to four cuts, doublings, swaps or insertions."""
        for _ in range(self.random.randrange(1, 5)):
            at, to = sorted(self.random.randrange(len(text) + 1) for _ in range(2))
            what = self.random.random()
            if what < 0.25:
                text = text[:at] + text[to:]
            elif what < 0.35:
                text = text[:at]
            elif what < 0.45:
                text = text[:to] + text[at:to][:400] + text[to:]
            elif what < 0.9:
                text = (
                    text[:at] + self.random.choice(TOKENS) + text[at + self.random.randrange(2) :]
                )
            else:
                text = text[:at] + chr(self.random.randrange(0x110000)) + text[at + 1 :]
        return text

    def mangled_bytes(self, content: bytes) -> bytes:
        """`content` with bits, bytes and stretches changed."""
        made = bytearray(content)
        for _ in range(self.random.randrange(1, 5)):
            at, to = sorted(self.random.randrange(len(made) + 1) for _ in range(2))
            what = self.random.random()
            if what < 0.3 and made:
                made[at % len(made)] ^= 1 << self.random.randrange(8)
            elif what < 0.5:
                del made[at:to]
            elif what < 0.6:
                del made[at:]
            elif what < 0.9:
                made[at:at] = self.random.choice(TOKENS).encode("utf-8", "surrogatepass")
            else:
                made[at:at] = self.random.randbytes(self.random.randrange(1, 9))
        return bytes(made)

    def json_bytes(self, sample: Any, spare: Sequence[Any] = (), kept: float = 0.05) -> bytes:
        """`sample` as the bytes of a JSON text: its value changed, its text changed, or neither (a
        part `kept` of them)."""
        what = self.random.random()
        value = sample if what < kept or what > 0.7 else self.changed(sample, spare)
        content = json.dumps(value, ensure_ascii=self.random.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
        return self.mangled_bytes(content) if what > 0.6 else content

    def pick(self, samples: Sequence[Any]) -> Any:
        return self.random.choice(samples)


def inputs(release: int = 1_000_000, every_change: int = 10_000) -> Iterator[int]:
    yield from range(rounds(release, every_change))
