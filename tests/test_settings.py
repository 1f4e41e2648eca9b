"""`settings.json`: shared with the npm programs, never lost, never overwritten when broken."""

import json
import multiprocessing
import os
import time

import pytest

from hapi.home import Home
from hapi.settings import (
    ConfigurationError,
    InvalidSettings,
    hub_access,
    machine_id,
    origin,
    read_settings,
    save_hub_address,
    update_settings,
)


@pytest.fixture
def place(tmp_path):
    return Home(tmp_path / "home").prepare()


def test_a_missing_file_reads_as_no_settings(place):
    assert read_settings(place) == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1,\n  oops}', "line 2, column 3"),
        (b"[1, 2]", "a JSON array"),
        (b"null", "a JSON null"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "recursion"),
        (b" " * 2_000_000, "larger than"),
    ],
)
def test_a_broken_file_is_named_with_the_place_and_left_as_it_is__S16(place, content, says):
    place.settings.write_bytes(content)
    with pytest.raises(InvalidSettings, match=says) as raised:
        update_settings(place, lambda now: {**now, "machineId": "x"})
    assert str(place.settings) in str(raised.value)
    assert place.settings.read_bytes() == content
    assert not place.settings_lock.exists()


def test_keys_of_others_are_kept__S06(place):
    place.settings.write_text('{"vapidKeys": {"publicKey": "k"}, "cliApiToken": "t"}')
    made = machine_id(place)
    assert json.loads(place.settings.read_text()) == {
        "vapidKeys": {"publicKey": "k"},
        "cliApiToken": "t",
        "machineId": made,
    }
    assert machine_id(place) == made


def test_settings_are_private_whatever_the_umask__K04(place):
    before = os.umask(0)
    try:
        update_settings(place, lambda now: {"cliApiToken": "t"})
    finally:
        os.umask(before)
    assert place.settings.stat().st_mode & 0o777 == 0o600


def _count(home: Home, times: int) -> None:
    for _ in range(times):
        update_settings(home, lambda now: {**now, "count": now.get("count", 0) + 1})


def test_no_update_is_lost_between_two_writers__S15(place):
    writers = [
        multiprocessing.get_context("fork").Process(target=_count, args=(place, 10))
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert read_settings(place)["count"] == 20


def test_a_lock_that_is_renewed_is_waited_for_and_then_named__S15(place, monkeypatch):
    monkeypatch.setattr("hapi.settings.LOCK_TIMEOUT", 0.0)
    place.settings_lock.mkdir()
    with pytest.raises(InvalidSettings, match=r"settings\.json\.hapi\.lock"):
        update_settings(place, dict)
    assert place.settings_lock.is_dir()


def test_a_lock_older_than_30_seconds_is_taken_over__S15(place):
    place.settings_lock.mkdir()
    old = time.time() - 31
    os.utime(place.settings_lock, (old, old))
    assert update_settings(place, lambda now: {"a": 1}) == {"a": 1}
    assert not place.settings_lock.exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:3006", "http://localhost:3006"),
        ("http://localhost:3006/", "http://localhost:3006"),
        ("https://hub.example", "https://hub.example"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_hub_is_named_by_its_origin(url, expected):
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://h/path",
        "http://h?x=1",
        "ftp://h",
        "h:3006",
        "",
        "http://",
        "http://h:99999",
        "http://u@h",
        7,
        "http://[::1",
    ],
)
def test_a_hub_url_that_is_no_origin_is_refused_in_words(url):
    with pytest.raises(ConfigurationError, match="hub URL"):
        origin(url)


def test_the_environment_wins_over_settings():
    settings = {
        "apiUrl": "http://a:1",
        "cliApiToken": "from-file",
        "extraHeaders": {"X-A": "1", "X-B": 2},
    }
    access = hub_access({}, settings)
    assert (access.url, access.token, access.headers) == ("http://a:1", "from-file", {"X-A": "1"})
    environ = {
        "HAPI_API_URL": "http://b:2",
        "CLI_API_TOKEN": " t ",
        "HAPI_EXTRA_HEADERS_JSON": '{"X-C": "3"}',
    }
    access = hub_access(environ, settings)
    assert (access.url, access.token, access.headers) == ("http://b:2", "t", {"X-C": "3"})


def test_a_missing_token_names_the_next_step():
    with pytest.raises(ConfigurationError, match="hapi auth login"):
        hub_access({}, {})


def test_a_token_that_is_no_text_is_named():
    with pytest.raises(ConfigurationError, match="cliApiToken"):
        hub_access({}, {"cliApiToken": 5})


@pytest.mark.parametrize("headers", ["[1]", "{nope", '"text"'])
def test_extra_headers_must_be_a_json_object(headers):
    with pytest.raises(ConfigurationError, match="HAPI_EXTRA_HEADERS_JSON"):
        hub_access({"CLI_API_TOKEN": "t", "HAPI_EXTRA_HEADERS_JSON": headers}, {})


def test_the_token_stays_out_of_reprs__K02():
    assert "canary" not in repr(hub_access({"CLI_API_TOKEN": "canary"}, {}))


@pytest.mark.parametrize("key", ["apiUrl", "serverUrl"])
@pytest.mark.parametrize(
    "chosen", ["https://hub.example.com", "http://localhost:4000", "no address"]
)
def test_a_hub_that_somebody_chose_stays_the_homes_hub(place, key, chosen):
    update_settings(place, lambda now: {key: chosen})
    assert save_hub_address(place, "http://127.0.0.1:24118") == chosen
    assert read_settings(place) == {key: chosen}


def test_a_hub_on_another_port_is_found_by_its_home_until_the_next_hub_serves_elsewhere(place):
    assert save_hub_address(place, "http://127.0.0.1:3006") is None
    assert read_settings(place) == {}, "the default is found anyway"
    for url in ("http://127.0.0.1:24118", "http://127.0.0.1:24119", "http://127.0.0.1:3006"):
        assert save_hub_address(place, url) is None
        assert hub_access({"CLI_API_TOKEN": "t"}, read_settings(place)).url == url


def test_the_chosen_address_may_be_this_very_hub_under_another_name_of_the_machine(place):
    update_settings(place, lambda now: {"apiUrl": "http://localhost:24118/"})
    assert save_hub_address(place, "http://127.0.0.1:24118") is None
    assert read_settings(place) == {"apiUrl": "http://localhost:24118/"}
