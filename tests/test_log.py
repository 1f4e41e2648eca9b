"""Logs: an event is a line, fields are kept, secrets stay out, files are bounded and private."""

import io
import json
import os
import stat

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from hapi.log import (
    FORMATS,
    FileLog,
    RotatingFile,
    TerminalLog,
    json_line,
    log_format,
    new_log_file,
    text_line,
)
from hapi.redaction import Secrets


def event(message="A sentence about {what}", level=LogLevel.info, **fields):
    seen = []
    getattr(Logger("hapi.test", observer=seen.append), level.name)(message, **fields)
    return seen[0]


def failed(error):
    try:
        raise error
    except Exception:
        return Failure()


def test_a_line_of_json_holds_the_sentence_and_its_facts():
    line = json.loads(json_line(event(what="spawning", pid=12, session_id="abc"), Secrets()))
    assert line.pop("time").endswith("Z")
    facts = {"what": "spawning", "pid": 12, "session_id": "abc"}
    assert line == {
        "level": "info",
        "system": "hapi.test",
        "message": "A sentence about spawning",
        **facts,
    }


@pytest.mark.parametrize("nasty", ["a\nb", "a\r\nb", "\x1b[2J", "\x85", "\u2028", "\x00", "\udcff"])
def test_an_event_stays_one_line_whatever_it_holds__K03(nasty):
    seen = event("title {what}", what=nasty, path=nasty)
    for line in (json_line(seen, Secrets()), text_line(seen, Secrets())):
        assert line.endswith("\n")
        body = line[:-1]
        assert len(body.splitlines()) == 1
        assert not [letter for letter in body if ord(letter) < 32 or 127 <= ord(letter) < 160]
    assert json.loads(json_line(seen, Secrets()))["what"].encode(
        "utf-8", "surrogatepass"
    ) == nasty.encode("utf-8", "surrogatepass")


def test_a_failure_keeps_its_traceback_in_json_and_its_words_on_a_terminal():
    seen = event("Could not", level=LogLevel.critical, log_failure=failed(ValueError("two\nlines")))
    line = json.loads(json_line(seen, Secrets()))
    assert line["level"] == "critical"
    assert "Traceback" in line["failure"]
    assert text_line(seen, Secrets()).endswith("critical: Could not (ValueError: two\\nlines)\n")


def test_the_token_is_in_no_field_message_or_traceback__K02():
    secrets = Secrets()
    secrets.add("s3cret-base:work")
    seen = event(
        "got {what}",
        what="s3cret-base",
        nested={"auth": "s3cret-base:work"},
        log_failure=failed(ValueError("s3cret-base")),
    )
    assert "s3cret" not in json_line(seen, secrets) + text_line(seen, secrets)


def test_values_that_cannot_be_shown_do_not_stop_the_log():
    class Broken:
        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    assert "cannot be shown" in json_line(event("fine", thing=Broken()), Secrets())


def test_long_texts_are_cut_and_say_so():
    line = json.loads(json_line(event("{what}", what="x" * 100_000), Secrets()))
    assert len(line["message"]) < 9_000
    assert "more characters" in line["message"]


def test_only_events_from_the_level_up_are_written(tmp_path):
    file, stream = RotatingFile(tmp_path / "a.log"), io.StringIO()
    publisher = LogPublisher(
        FileLog(file, Secrets(), LogLevel.info), TerminalLog(stream, Secrets(), LogLevel.warn)
    )
    for level in (LogLevel.debug, LogLevel.info, LogLevel.error):
        publisher(event(level.name, level=level))
    file.close()
    assert [
        json.loads(line)["message"] for line in (tmp_path / "a.log").read_text().splitlines()
    ] == ["info", "error"]
    assert stream.getvalue().endswith("error: error\n")
    assert len(stream.getvalue().splitlines()) == 1


def test_files_rotate_by_size_and_stay_private__K04(tmp_path):
    before = os.umask(0)
    try:
        file = RotatingFile(tmp_path / "a.log", limit=100, generations=2)
        for number in range(20):
            file.write(f"{number:02} {'x' * 36}\n")
        file.close()
    finally:
        os.umask(before)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(kept) == ["a.log", "a.log.1", "a.log.2"]
    assert "19 " in kept["a.log"]
    assert all(len(text) <= 100 for text in kept.values())
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_disk_that_takes_no_more_loses_lines_only(tmp_path):
    file = RotatingFile(tmp_path / "missing" / "a.log")
    file.write("lost\n")
    (tmp_path / "missing").mkdir()
    file.write("kept\n")
    file.close()
    assert (tmp_path / "missing/a.log").read_text() == "kept\n"


def test_the_oldest_of_too_many_log_files_go_but_not_those_of_the_living(home):
    logs = home.directory("logs")
    for number in range(60):
        pid = os.getpid() if number == 0 else 4_194_304 + number  # beyond every pid
        path = logs / f"2026-01-01-00-00-{number:02}-pid-{pid}-runner.log"
        path.touch()
        os.utime(path, (number, number))
    made = new_log_file(home, "runner")
    left = sorted(path.name for path in logs.iterdir())
    assert len(left) == 41
    assert left[0].endswith(f"-pid-{os.getpid()}-runner.log")
    assert made.name.endswith(f"-pid-{os.getpid()}-runner.log")


# --- the form of what goes to standard error


@pytest.mark.parametrize(
    ("environ", "settings", "expected"),
    [
        ({}, {}, "text"),
        ({}, {"logFormat": "json"}, "json"),
        ({"HAPI_LOG_FORMAT": "text"}, {"logFormat": "json"}, "text"),
        ({"HAPI_LOG_FORMAT": "json"}, {}, "json"),
        ({"HAPI_LOG_FORMAT": "xml"}, {"logFormat": 5}, "text"),
        ({"HAPI_LOG_FORMAT": ""}, {"logFormat": "json"}, "json"),
    ],
)
def test_the_variable_wins_over_the_setting_and_nonsense_counts_as_none(
    environ, settings, expected
):
    assert log_format(environ, settings) == expected


def test_the_option_offers_the_forms_that_the_log_knows():
    from hapi.cli.base import common_options

    assert common_options.FORMATS == FORMATS


def test_a_collector_gets_the_same_line_as_the_file(tmp_path):
    secrets, stream, path = Secrets(), io.StringIO(), tmp_path / "log"
    secrets.add("s3cret-token")
    seen = event("got {what}", level=LogLevel.warn, what="s3cret-token")
    FileLog(RotatingFile(path), secrets)(seen)
    TerminalLog(stream, secrets, as_json=True)(seen)
    assert stream.getvalue() == path.read_text()
    assert "s3cret" not in stream.getvalue()
