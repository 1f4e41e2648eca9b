"""What both ends of a transfer do, and the digest by which their rows are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from attrs import define, frozen

from hapi.units import plural

Row = tuple[Any, ...]
PARENT = "sessions"  # other tables refer to it
ORDERED = frozenset({"messages", "share_links"})  # whose rows have an order of their own


def rows_sentence(counts: Mapping[str, int]) -> str:
    """The rows of tables for a person: "1 machine, 2 scratch entries"; "" if there are none."""
    return ", ".join(
        plural(count, _singular(table.replace("_", " ")))
        for table, count in counts.items()
        if count
    )


def _singular(name: str) -> str:
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


class TransferFailed(Exception):
    """Nothing was moved; the message says why. Both databases are as they were."""


class DatabaseInUse(TransferFailed):
    """A hub or another transfer uses one of the databases."""


@frozen
class TableContent:
    """What is compared of a table. `digest` depends on each row, and in ORDERED tables on their
    order.
    """

    rows: int
    digest: int


@define(eq=False, repr=False)
class Digest:
    """Reads the first `width` values of rows as they pass by. Rows are hashed one by one and added
    up.
    """

    is_ordered: bool
    width: int
    rows: int = 0
    _sum: int = 0

    def reading(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self._add(row)
            yield row

    def _add(self, row: Row) -> None:
        place = self.rows if self.is_ordered else 0
        data = msgspec.msgpack.encode((place, row[: self.width]))
        self._sum += int.from_bytes(hashlib.blake2b(data, digest_size=16).digest())
        self.rows += 1

    @property
    def content(self) -> TableContent:
        return TableContent(self.rows, self._sum % (1 << 128))


class Source(Protocol):
    """A database that is read, as it is at one moment. `name` is for people."""

    name: str

    def tables(self) -> dict[str, tuple[str, ...]]:
        """The columns of each table with rows of people, without those of the search index."""

    def count(self, table: str) -> int: ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, those of ORDERED tables in the order in which they were stored. A message has
        one more value: whether a search finds it.
        """

    def conversations(self) -> dict[str, tuple[int, int]]:
        """The number of messages of each session with messages, and their highest seq."""

    def is_indexed(self) -> bool:
        """Whether all messages that a search has to find are in the search index."""


class Target(Source, Protocol):
    """A database that is filled, in one transaction."""

    def storable(self, row: Row) -> Row:
        """The row as this database can have it."""

    def fill(self, table: str, columns: Sequence[str], rows: Iterator[Row]) -> None:
        """Store all rows, which come as from `rows` of the source."""

    def finish(self, is_indexed: bool) -> None:
        """Commit. `is_indexed`: that of the source."""
