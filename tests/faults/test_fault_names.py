"""The catalogue of faults and the tests keep to one another."""

import re

from tests.faults import table


def test_every_fault_has_a_test_or_a_reason():
    assert table.missing() == []


def test_what_a_reason_excuses_has_no_test():
    assert not set(table.faults().get("untested", {})) & set(table.named_by_tests())


def test_the_documentation_shows_the_present_table():
    assert table.PAGE.read_text() == table.page(), "run: python tests/faults/table.py --write"


def test_no_fault_is_listed_twice():
    text = (table.ROOT / "tests/faults/faults.toml").read_text()
    ids = re.findall(r"^([A-Z]\d\d) =", text.split("[untested]")[0], re.MULTILINE)
    assert len(ids) == len(set(ids)) == 194
