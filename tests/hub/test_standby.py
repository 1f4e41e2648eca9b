"""Two hubs of one database in PostgreSQL: what the standby answers, and what both share."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from hapi.cli.checks.own_hub_check import own_hub_problem
from hapi.cli.checks.postgres_check import check_hubs
from hapi.cli.commands.hub.status import collect, status_facts
from hapi.home import Home
from hapi.hub import HubOptions, hub_service
from hapi.hub.active_role import ActiveRole
from hapi.hub.hub_server import HubServer
from hapi.hub.store.database_url import DatabaseUrl
from hapi.hub.store.interface import StoreRefused
from hapi.settings import ConfigurationError, HubAccess, read_settings, update_settings
from tests.support.metrics_text import figures
from tests.support.programs import free_port

HTML = {"Accept": "text/html,*/*;q=0.8"}
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


def ask(url: str, body: Any = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
    """Status and body of a reply; JSON is read."""
    content = None if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **headers}
    request = Request(url, content, given, method=method)
    try:
        with urlopen(request, timeout=20) as reply:
            status, kind, text = reply.status, reply.headers["Content-Type"], reply.read()
    except HTTPError as error:
        status, kind, text = error.code, error.headers["Content-Type"], error.read()
    is_json = "json" in (kind or "") and text
    return status, json.loads(text) if is_json else text.decode()


@pytest.fixture
def homes(tmp_path) -> Callable[[str], Home]:
    return lambda name: Home(tmp_path / name)


@pytest.fixture
def hubs(reactor, homes, database_url):
    """Starts hubs of the database, each in a home of its own."""
    started: list[Any] = []

    async def start(name: str, url: str = "", **more: Any) -> Any:
        database = DatabaseUrl.parse(url or database_url)
        given = {"port": 0, "database": database, "name": name, **more}
        options = HubOptions(homes(name), **given)
        hub = hub_service(reactor, options)
        started.append(hub)
        hub.startService()
        await hub.when_listening
        return hub

    yield start

    async def stop() -> None:
        for hub in reversed(started):
            if hub.running:
                await hub.stopService()

    pytest_twisted.blockon(Deferred.fromCoroutine(stop()))


def vapid_key(url: str, token: str) -> str:
    status, found = ask(f"{url}/api/push/vapid-public-key", Authorization=f"Bearer {token}")
    assert status == 200
    return str(found["publicKey"])


async def until(reactor: Any, check: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = reactor.seconds() + seconds
    while not check():
        assert reactor.seconds() < deadline
        await deferLater(reactor, 0.05)


@pytest_twisted.ensureDeferred
async def test_a_standby_answers_that_it_waits_and_serves_after_the_active_hub_has_stopped(
    hubs: Any, reactor: Any, homes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await hubs("a"), await hubs("b")
    assert (a.is_standby, b.is_standby) == (False, True)
    assert a.token == b.token == read_settings(homes("b"))["cliApiToken"]
    get = lambda *words, **more: deferToThread(ask, *words, **more)  # noqa: E731
    status, login = await get(f"{a.url}/api/auth", {"accessToken": a.token})
    assert status == 200
    web = {"Authorization": f"Bearer {login['token']}"}

    # What the standby answers.
    waits = "This hub is a standby: another hub of the same database serves"
    assert (await get(f"{b.url}/health"))[0] == 200
    status, body = await get(f"{b.url}/ready")
    assert (status, body["status"], body["error"]) == (503, "not ready", waits)
    for path, headers in (
        ("/api/sessions", web),
        ("/cli/machines/x", {"Authorization": f"Bearer {a.token}"}),
        ("/socket.io/?EIO=4&transport=polling", {}),
        ("/socket.io/?EIO=4&transport=websocket", SOCKET),
        ("/", {"Accept": "*/*"}),
    ):
        status, body = await get(f"{b.url}{path}", **headers)
        assert (path, status, body["error"]) == (path, 503, waits)
    status, body = await get(f"{b.url}/api/auth", {"accessToken": a.token})
    assert (status, body["error"]) == (503, waits)
    status, page = await get(f"{b.url}/sessions/1", **HTML)
    assert status == 503
    assert f"<p>{waits}.</p>" in page
    assert (await get(f"{b.url}/", method="HEAD", **HTML)) == (503, "")

    # What its owner is told.
    assert (await get(f"{b.url}/metrics"))[0] == 401
    status, text = await get(f"{b.url}/metrics", Authorization=f"Bearer {a.token}:team")
    assert (status, "hapi_hub" in str(text)) == (403, False)
    status, text = await get(f"{b.url}/metrics", Authorization=f"Bearer {a.token}")
    found = figures(text)
    assert (status, found["hapi_hub_ready"], found["hapi_hub_standby"]) == (200, 0, 1)
    assert found["hapi_hub_members_up"] == 2
    assert found["process_resident_memory_bytes"] > 1_000_000
    status, _ = await get(f"{b.url}/api/hub-status", Authorization="Bearer wrong")
    assert status == 401
    for home, role in (("a", "active"), ("b", "standby")):
        monkeypatch.setenv("HAPI_HOME", str(homes(home).path))
        facts, problem = await deferToThread(collect, homes(home), None)
        assert problem is None
        assert facts["role"] == role
        found = {hub["name"]: (hub["role"], hub["url"], hub["isUp"]) for hub in facts["hubs"]}
        assert found == {"a": ("active", a.url, True), "b": ("standby", b.url, True)} or (
            home == "a" and found == {"a": ("active", a.url, True)}
        )
        shown = dict(status_facts(facts, 0))
        assert shown["Hub"].endswith(", standby") is (role == "standby")
        assert [line.split()[0::2][:2] for line in shown["Hubs"].splitlines()] == (
            [["a", "active"], ["b", "standby"]][: len(facts["hubs"])]
        )
    for home, hub in (("a", a), ("b", b)):
        check = await deferToThread(own_hub_problem, homes(home), HubAccess(hub.url, hub.token))
        told = "note", f"{b.url} is a standby; hub a at {a.url} serves"
        assert (check and (check.finding, check.text)) == (told if hub is b else None)

    # The active one stops.
    body = {"tag": "t", "metadata": {"path": "/", "host": "h"}}
    own = {"Authorization": f"Bearer {a.token}"}
    status, made = await get(f"{a.url}/cli/sessions", body, **own)
    assert status == 200
    await a.stopService()
    await until(reactor, lambda: not b.is_standby)
    status, found = await get(f"{b.url}/api/sessions", **web)  # with the web token of the other
    assert [session["id"] for session in found["sessions"]] == [made["session"]["id"]]
    assert (await get(f"{b.url}/ready"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_a_standby_that_takes_over_tells_so_once_and_serves_also_without_a_terminal(
    hubs: Any, reactor: Any, logged_failures: Any
) -> None:
    a, b = await hubs("a"), await hubs("b")
    told: list[bool] = []

    def tell() -> None:
        told.append(b.is_standby)
        raise BrokenPipeError

    b.on_serving = tell
    await a.stopService()
    await until(reactor, lambda: not b.is_standby)
    assert (told, b.on_serving) == ([False], None)
    assert logged_failures.take(BrokenPipeError)
    assert (await deferToThread(ask, f"{b.url}/ready"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_hubs_that_serve_together_know_each_other(hubs: Any, reactor: Any) -> None:
    started = {}
    for name in "ab":
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        started[name] = await hubs(name, port=port, advertise=address, drain_seconds=0.0)
    told: dict[str, Any] = {}

    async def ask_both() -> bool:
        for name, hub in started.items():
            _, login = await deferToThread(ask, f"{hub.url}/api/auth", {"accessToken": hub.token})
            headers = {"Authorization": f"Bearer {login['token']}"}
            _, told[name] = await deferToThread(ask, f"{hub.url}/api/hub-status", **headers)
        return all(len(status["hubs"]) == 2 for status in told.values())

    while not await ask_both():
        await deferLater(reactor, 0.2)
    for status in told.values():
        assert status["role"] == "active"
        found = {(hub["name"], hub["role"], hub["url"], hub["isUp"]) for hub in status["hubs"]}
        assert found == {(name, "active", hub.url, True) for name, hub in started.items()}


@pytest_twisted.ensureDeferred
async def test_a_hub_that_is_not_at_its_advertised_url_is_told_with_the_reason_and_serves(
    hubs: Any, homes: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    hub = await hubs("a", advertise=address, drain_seconds=0.0)
    monkeypatch.setenv("HAPI_HOME", str(homes("a").path))
    problem = ""
    while not problem:
        await deferLater(reactor, 0.2)
        facts, error = await deferToThread(collect, homes("a"), None)
        problem = dict(status_facts(facts, 0)).get("Problem", "")
    assert problem.startswith(f"This hub cannot be reached at its advertised URL {address}: ")
    assert error is None
    assert (await deferToThread(ask, f"{hub.url}/ready"))[0] == 200
    url = DatabaseUrl.parse(database_url)
    (check,) = await deferToThread(check_hubs, homes("a"), url, hub.token)
    assert (check.name, check.finding, check.text) == ("hubs", "broken", problem)


@pytest_twisted.ensureDeferred
async def test_what_a_hub_has_begun_is_ended_if_its_term_is_over_before_it_serves(
    hubs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[Any] = []
    end_really = HubServer.end_connections

    async def end(server: HubServer) -> None:
        ended.append(server.cluster)
        await end_really(server)

    monkeypatch.setattr(HubServer, "end_connections", end)
    monkeypatch.setattr(ActiveRole, "may_write", property(lambda role: False))
    a = await hubs("a", advertise="http://127.0.0.1:9")
    assert a.is_standby
    assert len(ended) == 1
    assert ended[0].membership._loop is None


@pytest_twisted.ensureDeferred
async def test_a_hub_with_another_access_token_is_refused(hubs: Any, homes: Any) -> None:
    await hubs("a", token="the-token-of-this-hub-1")
    before = homes("b").prepare()
    update_settings(before, lambda now: {**now, "cliApiToken": "the-token-of-this-hub-2"})
    with pytest.raises(ConfigurationError, match="have another access token than this one"):
        await hubs("b")
    assert read_settings(before) == {"cliApiToken": "the-token-of-this-hub-2"}


@pytest_twisted.ensureDeferred
async def test_the_first_hub_brings_the_secrets_of_its_home(
    hubs: Any, homes: Any, reactor: Any
) -> None:
    alone = hub_service(reactor, HubOptions(homes("a"), port=0))
    alone.startService()
    await alone.when_listening
    token = alone.token
    _, login = await deferToThread(ask, f"{alone.url}/api/auth", {"accessToken": token})
    key = await deferToThread(vapid_key, alone.url, login["token"])
    await alone.stopService()
    await (await hubs("a")).stopService()
    b = await hubs("b")
    assert b.token == token
    status, _ = await deferToThread(
        ask, f"{b.url}/api/sessions", Authorization=f"Bearer {login['token']}"
    )
    assert status == 200
    assert await deferToThread(vapid_key, b.url, login["token"]) == key


@pytest_twisted.ensureDeferred
async def test_hubs_without_keys_of_their_own_have_the_same_one_for_push_services(
    hubs: Any,
) -> None:
    keys = []
    for name in "ab":
        hub = await hubs(name)
        _, login = await deferToThread(ask, f"{hub.url}/api/auth", {"accessToken": hub.token})
        keys.append(await deferToThread(vapid_key, hub.url, login["token"]))
        await hub.stopService()
    assert keys[0] == keys[1]
    assert len(keys[0]) == 87  # an uncompressed point, in base64url


@pytest.mark.parametrize("advertise", [None, "http://127.0.0.1:9"])
@pytest.mark.parametrize("table", ["meta", "sessions"])  # the first and the last one that is read
@pytest_twisted.ensureDeferred
async def test_a_hub_that_starts_while_the_database_is_locked_waits_and_then_serves(
    hubs: Any, homes: Any, reactor: Any, database_url: str, table: str, advertise: str | None
) -> None:
    psycopg = pytest.importorskip("psycopg")
    await (await hubs("before")).stopService()
    options = HubOptions(
        homes("a"),
        port=free_port(),
        database=DatabaseUrl.parse(f"{database_url}"),
        advertise=advertise,
        drain_seconds=0.0,
    )
    hub, told = hub_service(reactor, options), []
    hub.on_waiting = told.append
    url = f"http://127.0.0.1:{options.port}"
    with psycopg.connect(database_url) as other:
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        hub.startService()
        await until(reactor, lambda: bool(hub.waits_because) and "database" in hub.waits_because)
        status, body = await deferToThread(ask, f"{url}/ready")
        busy = "The database is locked by another program, or too slow, at present"
        assert (status, body["error"]) == (503, busy)
        assert (await deferToThread(ask, f"{url}/health"))[0] == 200
        assert len(told) == (table == "meta")
    await hub.when_listening
    await until(reactor, lambda: not hub.is_standby)
    assert (await deferToThread(ask, f"{url}/ready"))[0] == 200
    login = {"accessToken": hub.token}
    assert (await deferToThread(ask, f"{url}/api/auth", login))[0] == 200
    await hub.stopService()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hapi:hunter2@127.0.0.1:1/hapi",
        "postgresql://nobody:hunter2@%2Fnowhere/hapi",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_database_that_cannot_be_used_is_refused_with_a_sentence_without_its_password(
    hubs: Any, homes: Any, url: str
) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreRefused) as caught:
        await hubs("a", url)
    assert str(DatabaseUrl.parse(url)) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not homes("a").settings.exists()


@pytest_twisted.ensureDeferred
async def test_without_psycopg_a_hub_says_what_to_install(
    hubs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def refuse(name: str, *words: Any) -> Any:
        if name == "psycopg":
            raise ImportError("No module named 'psycopg'")
        return load(name, *words)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(StoreRefused, match=r"pip install 'hapi-runner\[postgres\]'"):
        await hubs("a", "postgresql://db1/hapi")
