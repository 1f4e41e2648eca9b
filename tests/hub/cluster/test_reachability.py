"""Whether hubs are where they say: what a hub finds at its own URL and at those of the others."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from hapi.hub.cluster.identity import NoAnswer, NoHub, OtherProgram
from hapi.hub.cluster.reachability import Reachability
from hapi.hub.domain.rpc import PeerStatistics
from tests.support.cluster_stage import ClusterStage

REFUSED = NoAnswer("nothing listens at a.example:3006 (connection refused)")
STRANGER = OtherProgram("something else than a hub that serves answers there (HTTP 404)")


def url(name: str) -> str:
    return f"http://{name}.example:3006"


@define(eq=False)
class Network:
    """What answers at each URL: the hub's own id, or what `found` has, one after the other."""

    found: dict[str, list[str | NoHub]] = field(factory=dict)
    asked: list[str] = field(factory=list)

    async def ask(self, asked: str) -> str:
        self.asked.append(asked)
        name = asked.removeprefix("http://").partition(".")[0]
        answers = self.found.get(name, [name])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, NoHub):
            raise answer
        return answer


@define(eq=False)
class Checker:
    """One hub's checks, and what it has found."""

    hub: Any
    network: Any  # in the place of an IdentityClient
    figures: PeerStatistics = field(factory=PeerStatistics)
    checks: Reachability = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.checks = Reachability(
            self.hub.cluster, self.network, self.figures, self.hub.memory.clock
        )
        self.checks.start()

    def problems(self, name: str) -> list[str]:
        return self.checks.problems_of(name)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def hubs():
    made = ClusterStage("ab")
    made.tick(3)  # they know each other
    return made


@pytest.fixture
def a(hubs, network):
    checker = Checker(hubs.hubs[0], network)
    yield checker
    checker.checks.stop()


@pytest.fixture
def said():
    """Warnings and what follows them, in order, each with the first letter of its level."""
    lines = []

    def watch(event):
        is_ours = str(event.get("log_namespace")).endswith("Reachability")
        if is_ours and event["log_level"] >= LogLevel.info:
            lines.append(f"{event['log_level'].name[0]}: {formatEvent(event)}")

    globalLogPublisher.addObserver(watch)
    yield lines
    globalLogPublisher.removeObserver(watch)


def test_a_hub_that_finds_itself_is_reachable(hubs, a, said):
    hubs.tick(1)
    assert a.figures.is_reachable is True
    assert (a.problems("a"), said) == ([], [])


@pytest.mark.parametrize("found", [REFUSED, STRANGER])
def test_a_hub_that_is_not_at_its_url_says_so_once_and_what_to_do(hubs, network, found, said):
    network.found["a"] = [found]
    a = Checker(hubs.hubs[0], network)
    hubs.tick(100)
    sentence = (
        f"This hub cannot be reached at its advertised URL {url('a')}: {found}; set --advertise "
        "to a URL that leads the other hubs to this one"
    )
    assert a.problems("a") == [sentence]
    assert a.figures.is_reachable is False
    assert said == [f"w: {sentence}"]

    network.found["a"] = ["a"]
    hubs.tick(35)
    assert (a.problems("a"), a.figures.is_reachable) == ([], True)
    assert said[1:] == [f"i: This hub is reached at its advertised URL {url('a')} again"]
    a.checks.stop()


def test_one_answer_that_is_late_is_no_problem(hubs, network, said):
    network.found["a"] = [NoAnswer("there is no answer within 5 s"), "a"]
    a = Checker(hubs.hubs[0], network)
    hubs.tick(10)
    assert (a.figures.is_reachable, said) == (True, [])
    a.checks.stop()


def test_a_url_that_leads_to_another_hub_names_that_hub(hubs, network, said):
    network.found["a"] = ["b"]
    a = Checker(hubs.hubs[0], network)
    hubs.tick(5)
    (sentence,) = a.problems("a")
    assert sentence == (
        f"This hub cannot be reached at its advertised URL {url('a')}: hub b answers there; give "
        "each hub a URL of its own with --advertise, not that of a balancer"
    )
    assert said == [f"w: {sentence}"]
    network.found["a"] = ["unknown"]
    hubs.tick(35)
    assert "another hub of the database answers there;" in a.problems("a")[0]
    assert len(said) == 1
    a.checks.stop()


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_balancer_that_leads_to_the_right_hub_now_and_then_stays_wrong(hubs, network, said, name):
    right, wrong = name, {"a": "b", "b": "a"}[name]
    network.found[name] = [*[right, right, wrong, *[right] * 6] * 100, wrong]
    a = Checker(hubs.hubs[0], network)
    hubs.tick(20)
    for _ in range(10):
        assert len(a.problems(name)) == 1
        hubs.tick(30)
    assert len(said) == 1
    network.found[name] = [right]
    hubs.tick(60)
    assert a.problems(name) == []
    a.checks.stop()


def test_a_url_that_is_right_is_asked_every_few_minutes(hubs, network, a):
    hubs.tick(1)
    first = network.asked.count(url("a"))
    hubs.tick(170)
    assert network.asked.count(url("a")) == first
    network.found["a"] = [REFUSED]
    hubs.tick(50)
    assert a.figures.is_reachable is False


def test_a_url_that_was_right_is_asked_again_when_another_hub_has_come(hubs, network, a, said):
    hubs.tick(1)
    network.found["a"] = ["a", "new"]  # a balancer leads to both
    hubs.start("new")
    hubs.tick(35)
    (sentence,) = a.problems("a")
    assert "hub new answers there" in sentence
    assert said == [f"w: {sentence}"]


def test_a_hub_that_is_about_to_stop_does_not_look_for_itself(hubs, network, said):
    hubs.hubs[0].cluster.drain()
    hubs.tick(1)
    network.found["a"] = [REFUSED]
    a = Checker(hubs.hubs[0], network)
    hubs.tick(100)
    assert said == []
    a.checks.stop()


def test_another_hub_that_cannot_be_reached_is_told_of_it(hubs, network, a, said):
    network.found["b"] = [NoAnswer("there is no answer within 5 s")]
    hubs.tick(50)
    sentence = (
        f"Hub b cannot be reached at {url('b')} from this hub: there is no answer within 5 s; "
        "check its --advertise, and the network between both"
    )
    assert a.problems("b") == [sentence]
    assert (a.problems("a"), a.figures.reached) == ([], {"b": False})

    network.found["b"] = ["b"]
    hubs.tick(31)
    assert (a.problems("b"), a.figures.reached) == ([], {"b": True})
    assert said == [f"w: {sentence}", f"i: Hub b is reached at {url('b')} again"]


def test_a_hub_whose_process_was_killed_is_no_problem_of_its_address(hubs, network, a, said):
    hubs.tick(25)
    hubs.hubs[1].kill()
    hubs.hubs.pop()
    network.found["b"] = [REFUSED]
    hubs.tick(100)
    assert (a.problems("b"), a.figures.reached, said) == ([], {}, [])


def test_two_hubs_with_the_same_url_are_noticed_by_the_one_that_is_there(hubs, network, a, said):
    hubs.hubs[1].memory.shared.members["b"] = _changed(hubs, url=url("a"))
    hubs.tick(65)
    (sentence,) = a.problems("a")
    assert sentence == (
        f"The advertised URL {url('a')} of this hub is also that of hub b; give each hub a URL of "
        "its own with --advertise"
    )
    assert a.figures.is_reachable is True
    assert f"{url('a')} from this hub: this hub answers there" in a.problems("b")[0]
    assert len(said) == 2


def test_two_hubs_with_the_same_name_are_noticed(hubs, network, a, said):
    hubs.hubs[1].memory.shared.members["b"] = _changed(hubs, name="a")
    hubs.tick(65)
    (sentence,) = a.problems("a")
    assert sentence.startswith("Another hub of the database is also named a; ")
    assert said == [f"w: {sentence}"]
    hubs.hubs[1].memory.shared.members["b"] = _changed(hubs, name="b")
    hubs.tick(31)
    assert a.problems("a") == []


def test_a_hub_that_was_killed_and_started_again_is_no_namesake_of_itself(hubs, network, said):
    _, b = hubs.hubs
    hubs.tick(60)
    b.kill()
    hubs.hubs.pop()
    hubs.clock.advance(1)
    again = hubs.start("again")
    members = hubs.shared.members
    members["again"] = _changed(hubs, "again", name="b", url=url("b"))
    network.found["b"] = ["again"]
    checker = Checker(again, network)
    for _ in range(40):
        hubs.tick(1)
        assert checker.problems("again") == []
    assert said == []
    checker.checks.stop()


def test_nothing_is_found_out_after_the_end(hubs, said):
    pending: list[Deferred[str]] = []

    class Slow:
        async def ask(self, url):
            pending.append(Deferred())
            try:
                return await pending[-1]
            except CancelledError:
                raise NoAnswer("the connection was closed") from None

    a = Checker(hubs.hubs[0], Slow())
    hubs.tick(1)
    a.checks.stop()
    assert len(pending) == 2  # about both URLs
    hubs.tick(60)
    assert len(pending) == 2
    assert all(each.called for each in pending)
    assert (said, a.figures.is_reachable) == ([], None)


def _changed(hubs: ClusterStage, hub_id: str = "b", **facts: str) -> Any:
    return evolve(hubs.shared.members[hub_id], **facts)
