"""JSON with more values than any message has is refused before it is read."""

import pytest

from hapi.protocol.json import MAX_VALUES, Malformed, from_json


@pytest.mark.parametrize("item", ["[]", "1", "{}", '""', '{"a":1}', '"\\","'])
def test_more_values_than_any_message_has_are_refused(item):
    with pytest.raises(Malformed, match="more than 1000000 values"):
        from_json("[" + ",".join([item] * (MAX_VALUES + 2)) + "]")


def test_a_long_text_with_millions_of_commas_is_one_value():
    text = "a,b\\" + '"' + ",c\n" * MAX_VALUES
    assert from_json('["' + text.replace("\n", "\\n") + '", 1]') == [
        text.replace('\\"', '"'),
        1,
    ]


def test_as_many_values_as_allowed_are_read():
    assert len(from_json("[" + "1," * MAX_VALUES + "1]")) == MAX_VALUES + 1
