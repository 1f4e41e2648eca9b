"""The transfer itself: it counts only when all rows have been read back and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from hapi.hub.store.transfer.ends import (
    ORDERED,
    PARENT,
    Digest,
    Row,
    Source,
    TableContent,
    Target,
    TransferFailed,
)

PORTION = 1_000  # rows between two reports


@frozen
class Report:
    """How far a transfer is. `step` is "Copying" or "Comparing"."""

    step: str
    table: str
    done: int
    total: int


@frozen
class Transferred:
    """What was moved: rows by table. `replaced`: rows with a character that the target cannot
    have.
    """

    counts: dict[str, int]
    replaced: int


@define(eq=False, repr=False)
class Transfer:
    """Everything of `source` into `target`, which is empty."""

    _source: Source
    _target: Target
    _report: Callable[[Report], object] = lambda report: None
    _replaced: int = field(default=0, init=False)

    def run(self) -> Transferred:
        """Raises TransferFailed, in which case the target has not been changed."""
        tables = self._columns()
        copied = {table: self._copy(table, columns) for table, columns in tables.items()}
        for table, columns in tables.items():
            self._compare(table, columns, copied[table])
        storable = self._target.storable
        expected = {storable((k,))[0]: v for k, v in self._source.conversations().items()}
        if self._target.conversations() != expected:
            raise TransferFailed(
                f"the conversations in {self._target.name} are not those of {self._source.name}"
            )
        self._target.finish(self._source.is_indexed())
        return Transferred({name: content.rows for name, content in copied.items()}, self._replaced)

    def _columns(self) -> dict[str, tuple[str, ...]]:
        """The columns by table, in the order in which the tables can be filled."""
        found, expected = self._source.tables(), self._target.tables()
        if {name: set(columns) for name, columns in found.items()} != {
            name: set(columns) for name, columns in expected.items()
        }:
            raise TransferFailed(
                f"{self._source.name} and {self._target.name} have tables of different versions: "
                "start this version of the hub once on each of them"
            )
        names = sorted(found, key=lambda name: (name != PARENT, name))
        return {name: found[name] for name in names}

    def _copy(self, table: str, columns: tuple[str, ...]) -> TableContent:
        digest = Digest(table in ORDERED, len(columns))
        rows = self._storable(self._source.rows(table, columns))
        total = self._source.count(table)
        self._target.fill(
            table, columns, digest.reading(self._counted("Copying", table, total, rows))
        )
        return digest.content

    def _compare(self, table: str, columns: tuple[str, ...], expected: TableContent) -> None:
        digest = Digest(table in ORDERED, len(columns))
        rows = self._target.rows(table, columns)
        for _ in digest.reading(self._counted("Comparing", table, expected.rows, rows)):
            pass
        if digest.content != expected:
            raise TransferFailed(
                f"the {digest.rows} rows of {table} in {self._target.name} are not the "
                f"{expected.rows} of {self._source.name}"
            )

    def _storable(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            stored = self._target.storable(row)
            self._replaced += stored != row
            yield stored

    def _counted(self, step: str, table: str, total: int, rows: Iterator[Row]) -> Iterator[Row]:
        for done, row in enumerate(rows):
            if done % PORTION == 0:
                self._report(Report(step, table, done, total))
            yield row
