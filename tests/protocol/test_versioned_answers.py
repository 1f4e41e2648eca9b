"""What the hub's answer to a versioned write means, and how long to wait after a failure."""

import json
from random import Random

import pytest

from hapi.protocol.versioned import (
    QUICK_RETRIES,
    Mismatch,
    NotStored,
    Stored,
    read_update_answer,
    retry_delay,
)
from tests.support.paths import FIXTURES


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"result": "success", "version": 2, "state": {"a": 1}}, Stored({"a": 1}, 2)),
        ({"result": "success", "version": 2}, Stored("sent", 2)),
        ({"result": "success", "version": 2, "state": None}, Stored(None, 2)),
        ({"result": "version-mismatch", "version": 9, "state": {"b": 2}}, Mismatch({"b": 2}, 9)),
        ({"result": "error", "reason": "not-found"}, NotStored("not-found")),
        ({"result": "error"}, NotStored(None)),
        ({"result": "success", "version": "2"}, NotStored("malformed answer")),
        ({"result": "success", "version": True}, NotStored("malformed answer")),
        ({"result": "version-mismatch"}, NotStored("malformed answer")),
        ({"result": "something new", "version": 2}, NotStored("malformed answer")),
        ({}, NotStored("malformed answer")),
        (None, NotStored("malformed answer")),
        ("ok", NotStored("malformed answer")),
    ],
)
def test_answers_are_judged(answer, expected):
    assert read_update_answer(answer, "state", "sent") == expected


def test_every_recorded_answer_is_understood():
    seen = set()
    for line in (FIXTURES / "state-update.jsonl").read_text().splitlines():
        frame = json.loads(line).get("frame", "")
        if frame.startswith("43/cli,"):
            answer = json.loads(frame[frame.index("[") :])[0]
            if isinstance(answer, dict) and "result" in answer:
                field = "metadata" if "metadata" in answer else "runnerState"
                seen.add(type(read_update_answer(answer, field, None)))
    assert seen == {Stored, Mismatch, NotStored}


def test_a_few_tries_are_quick_and_later_ones_slow_down__N07():
    random = Random(1)
    quick = [
        retry_delay(tries, random) for tries in range(1, QUICK_RETRIES + 1) for _ in range(200)
    ]
    assert max(quick) <= 0.4
    assert (
        15.0
        <= min(retry_delay(40, random) for _ in range(200))
        <= max(retry_delay(40, random) for _ in range(200))
        <= 30.0
    )
    assert retry_delay(10_000, random) <= 30.0
