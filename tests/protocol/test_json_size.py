"""JSON with more values than any message has is refused before it is read."""

import json
from contextlib import suppress
from io import BytesIO
from time import process_time
from types import SimpleNamespace

import pytest

from hapi.hub.domain.content import content_of
from hapi.net.server.http import InvalidBody, read_json
from hapi.protocol import json as wire_json
from hapi.protocol.json import Malformed, check_number_of_values, from_json
from tests.support.programs import level

BACKSLASH = "\\"
FEW = 1000  # values: a limit at which a test takes no time
SIZE = level(2_000_000, 40_000_000)  # characters of a hostile text
SECONDS = level(1, 5)  # for a text of SIZE: ten times what it takes, and far from quadratic time


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.setattr(wire_json, "MAX_VALUES", FEW)


@pytest.mark.parametrize("item", ["[]", "1", "{}", '""', '{"a":1}', '"\\","', '"é"', '"\\\\"'])
def test_more_values_than_any_message_has_are_refused(limit, item):
    with pytest.raises(Malformed, match=f"more than {FEW} values"):
        from_json("[" + ",".join([item] * (FEW + 2)) + "]")


def test_lists_in_lists_count_although_there_is_no_comma_between_them(limit):
    nest = "[" * 50 + "]" * 50
    with pytest.raises(Malformed, match="values"):
        from_json("[" + ",".join([nest] * (FEW // 50)) + "]")


@pytest.mark.parametrize("inner", [",", "[", "{", "\\\\", '\\",', "\\n,", "é,", "\\\\\\\\,"])
def test_what_strings_contain_is_not_counted(limit, inner):
    text = f'{{"{inner * 2 * FEW}": ["{inner * 2 * FEW}", 1]}}'
    assert from_json(text) == json.loads(text)


def test_strings_are_told_from_what_follows_them_after_any_backslashes(limit):
    many = "1," * FEW + "1"
    for backslashes in range(0, 8, 2):
        with pytest.raises(Malformed, match="values"):
            from_json(f'["{BACKSLASH * backslashes}",{many}]')
        text = f'["{BACKSLASH * (backslashes + 1)}",{many}"]'
        assert from_json(text) == json.loads(text)


def test_as_many_values_as_allowed_are_read(limit):
    assert len(from_json("[" + "1," * (FEW - 2) + "1]")) == FEW - 1  # and the list
    with pytest.raises(Malformed):
        from_json("[" + "1," * (FEW - 1) + "1]")


def test_the_largest_real_answers_are_read():
    entry = {"name": "a file, [1]", "type": "file", "size": 1, "modified": 2, "isLink": False}
    listing = {"success": True, "entries": [entry] * 20_000}
    assert from_json(json.dumps(listing)) == listing


HOSTILE = {
    "empty strings": '"",' * (SIZE // 3),
    "names": '{"":""},' * (SIZE // 8),
    "quotes without commas": '""' * (SIZE // 2),
    "a string of escaped quotes without end": "1," * (SIZE // 4) + '"' + '\\"' * (SIZE // 4),
    "a string of backslashes without end": "1," * (SIZE // 4) + '"' + "\\\\" * (SIZE // 4),
    "brackets": "[" * SIZE,
    "one long string": '"' + "a," * (SIZE // 2) + '"',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_check_takes_linear_time(text):
    before = process_time()
    with suppress(Malformed):
        check_number_of_values(text)
    assert process_time() - before < SECONDS


def test_a_body_with_too_many_values_is_invalid(limit):
    body = b'{"metadata": [' + b"[]," * FEW + b"1]}"
    request = SimpleNamespace(content=BytesIO(body))
    with pytest.raises(InvalidBody, match=f"more than {FEW} values"):
        read_json(request, len(body), dict)


def test_a_message_in_a_text_with_too_many_values_stays_a_text(limit):
    text = '{"role": "agent", "content": [' + "1," * FEW + "1]}"
    assert content_of(text) == text
