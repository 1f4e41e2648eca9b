"""Which of several hubs serves: after a stop, a kill, a freeze, or without the database."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hapi.hub.hubs_report import told_members
from hapi.hub.shared_role import SharedRole
from hapi.hub.store.interface import StoreRefused
from hapi.hub.store.shared import Member
from tests.support.hub_stage import result_of
from tests.support.role_stage import RoleStage


@pytest.fixture
def stage():
    made = RoleStage()
    yield made
    made.end()


@pytest.fixture
def pair(stage):
    a, b = stage.hub("a"), None
    stage.until("a", 5)
    b = stage.hub("b")
    stage.tick(5)
    return a, b


def test_the_second_hub_waits_and_names_the_first_to_its_owner(stage, pair):
    _, b = pair
    assert stage.answering() == ["a"]
    assert b.role.problem == "This hub is a standby: hub a at http://a serves"
    assert b.role.reason == "This hub is a standby: another hub of the same database serves"
    report = b.role.report()
    assert report["role"] == "standby"
    assert {(hub["name"], hub["role"], hub["isUp"]) for hub in report["hubs"]} == {
        ("a", "active", True),
        ("b", "standby", True),
    }


def test_how_many_hubs_are_up_is_unknown_while_the_database_is_away(stage, pair):
    _, b = pair
    assert (b.role.is_standby, b.role.hubs.up) == (True, 2)
    stage.database.is_away = True
    stage.tick(12)
    assert (b.role.is_standby, b.role.hubs.up) == (False, None)


def test_while_the_database_is_away_the_hubs_are_told_as_they_were_known_last(stage, pair):
    stage.tick(5)
    stage.database.is_away = True
    stage.tick(15)
    for hub in pair:
        told = hub.role.report()
        assert told["role"] == "standby"
        assert {each["name"]: each["role"] for each in told["hubs"]} == {
            "a": "active",
            "b": "standby",
        }
        assert 14 < told["hubsAge"] < 18


def test_a_standby_that_hears_nothing_of_the_database_does_not_say_that_another_hub_serves(
    stage, pair
):
    _, b = pair
    b.stores[-1].is_busy = True  # it answers nothing
    stage.tick(12)
    assert b.role.reason == "The database cannot be used at present"


def test_of_lost_hubs_the_last_of_each_name_without_a_successor_is_told():
    def hub(name, started_at, is_up):
        return Member(f"{name}{started_at}", name, "", "1", started_at, started_at, is_up)

    members = [hub("a", 1, False), hub("a", 2, False), hub("b", 1, False), hub("b", 2, True)]
    assert [hub.id for hub in told_members(members)] == ["a2", "b2"]
    assert [hub.id for hub in told_members([hub("a", 1, True), hub("a", 2, True)])] == ["a1", "a2"]


def test_a_hub_says_that_it_is_starting_until_it_knows_whether_another_one_serves(stage):
    a = stage.hub("a")
    assert a.role.reason == "This hub is starting"
    stage.until("a", 5)


def test_a_hub_that_joins_others_says_so_until_it_serves(stage):
    a = stage.hub("a", kind=SharedRole, load_time=5.0)
    stage.tick(2)
    report = a.role.report()
    assert a.role.reason == a.role.problem
    assert a.role.reason == (
        "This hub is joining the other hubs of its database and serves in a moment"
    )
    assert (report["role"], [hub["role"] for hub in report["hubs"]]) == ("joining", ["joining"])
    stage.tick(5)
    report = a.role.report()
    assert (report["role"], [hub["role"] for hub in report["hubs"]]) == ("active", ["active"])


def test_a_hub_is_active_since_it_serves_and_not_since_its_process_began(stage, pair):
    a, b = pair
    since = stage.database.now()
    stage.tick(60)
    a.kill()
    stage.until("b", 10)
    stage.tick(2)
    told = {hub["name"]: hub["since"] for hub in b.role.report()["hubs"]}
    assert told["a"] <= since
    assert told["b"] >= since + 60_000
    assert b.role.report()["hubsAge"] < 3


def test_after_an_orderly_stop_the_standby_serves_within_two_seconds(stage, pair):
    a, b = pair
    a.leave()
    assert stage.until("b", 10) <= 2.0
    assert {hub["name"] for hub in b.role.report()["hubs"]} == {"b"}


def test_after_a_kill_the_standby_serves_within_four_seconds(stage, pair):
    pair[0].kill()
    assert stage.until("b", 10) <= 4.0


def test_a_hub_that_is_frozen_is_replaced_within_15_s_and_never_serves_again_by_itself(stage, pair):
    a, b = pair
    a.freeze()
    assert 10.0 <= stage.until("b", 20) <= 15.0
    a.thaw()
    stage.tick(5)
    assert stage.answering() == ["b"]
    assert "hub b" in a.role.problem
    b.kill()
    stage.until("a", 5)


def test_a_hub_that_is_frozen_for_a_moment_goes_on(stage, pair):
    a, _ = pair
    a.freeze()
    stage.tick(5)
    a.thaw()
    stage.until("a", 1)
    stage.tick(20)
    assert stage.answering() == ["a"]


def test_a_hub_whose_signs_of_life_wait_behind_many_changes_goes_on(stage, pair):
    """Each change that is committed is a sign of life."""
    a, b = pair
    a.role.store.is_busy = True
    for _ in range(6):
        stage.tick(5)
        a.role.store.write()
    assert a.answers
    assert not b.answers
    a.role.store.is_busy = False


def test_a_hub_that_wakes_after_its_lease_serves_nothing_until_it_is_active_again(stage):
    a = stage.hub("a")
    stage.until("a", 5)
    a.freeze()
    stage.tick(9)
    a.clock.is_stopped = False  # a request comes before any timer
    assert not a.answers
    a.thaw()
    stage.until("a", 5)


def test_a_hub_that_is_cut_from_the_database_stops_before_another_one_begins(stage, pair):
    a, _ = pair
    a.cut()
    stage.tick(8.6)
    assert stage.answering() == []
    assert not a.serves
    assert a.role.problem.startswith("The database cannot be used at present: ")
    assert stage.until("b", 10) <= 15.0 - 8.6


def test_a_connection_that_ends_is_made_again_before_the_standby_begins(stage, pair):
    a, b = pair
    a.lose_connection()
    stage.tick(30)
    (serving,) = stage.answering()
    other = b if serving == "a" else a
    assert f"hub {serving}" in other.role.problem


def test_a_hub_alone_that_loses_its_connection_goes_on_without_an_end(stage):
    a = stage.hub("a")
    stage.until("a", 5)
    a.lose_connection()
    stage.tick(5)
    assert stage.answering() == ["a"]
    assert len(a.stores) == 1


def test_a_hub_that_missed_the_term_of_another_one_begins_anew(stage, pair):
    a, b = pair
    a.cut()
    stage.database.holder = None  # the server has noticed
    stage.until("b", 15)
    b.leave()
    stage.tick(0.5)
    a.join()
    stage.until("a", 15)
    assert len(a.stores) > 1


def test_a_database_that_is_away_for_a_minute_finds_one_hub_again(stage, pair):
    stage.database.is_away = True
    stage.database.holder = None
    stage.tick(60)
    assert stage.answering() == []
    stage.database.is_away = False
    for hub in pair:
        hub.stores[-1].is_broken = True
    stage.tick(5)
    assert len(stage.answering()) == 1


def test_a_term_that_ends_while_the_hub_loads_is_never_served(stage, pair):
    a, b = pair
    b.load_time = 20.0
    a.kill()
    stage.tick(5)
    b.cut()
    stage.tick(30)
    assert stage.answering() == []
    b.join()
    stage.until("b", 60)


def test_a_database_that_cannot_be_opened_is_told_at_the_start(stage):
    stage.database.is_away = True
    stage.hub("a")
    with pytest.raises(StoreRefused, match="cannot be reached"):
        result_of(stage.starting.pop())
    stage.hubs.clear()


def test_a_hub_that_starts_while_the_database_is_locked_waits_for_it(stage):
    stage.database.is_busy = True
    a = stage.hub("a")
    stage.tick(5)
    (started,) = stage.starting
    assert result_of(started) is None
    busy = "The database is locked by another program, or too slow, at present"
    assert (a.role.reason, a.role.is_active) == (busy, False)
    assert a.role.problem.startswith("The database cannot be used at present: the database is lo")
    stage.database.is_busy = False
    stage.until("a", 5)
    assert (a.role.report()["role"], a.role._problem) == ("active", "")


class Faults(RuleBasedStateMachine):
    """Whatever happens, two hubs never answer at the same time, and one does soon after it all."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = RoleStage()
        self.number = 0
        self.start()

    def alive(self):
        return [hub for hub in self.stage.hubs.values() if not hub.is_dead]

    @precondition(lambda self: len(self.alive()) < 3)
    @rule()
    def start(self):
        self.number += 1
        if not self.stage.database.is_away:
            self.stage.hub(f"hub{self.number}")

    @rule(seconds=st.sampled_from([0.1, 0.5, 1, 2, 4, 8, 12]))
    def pass_time(self, seconds):
        self.stage.tick(seconds)

    @precondition(lambda self: self.alive())
    @rule(
        data=st.data(),
        what=st.sampled_from(["kill", "freeze", "thaw", "lose_connection", "cut", "join", "leave"]),
    )
    def happen(self, data, what):
        hub = data.draw(st.sampled_from(self.alive()))
        if hub.clock.is_stopped and what in ("lose_connection", "leave"):
            return  # an administrator ends connections; nobody else does while the hub is frozen
        getattr(hub, what)()

    @rule(is_away=st.booleans())
    def database(self, is_away):
        if is_away and not self.stage.database.is_away:
            self.stage.database.holder = None
            for hub in self.alive():
                hub.stores[-1].is_broken = True
        self.stage.database.is_away = is_away

    @invariant()
    def at_most_one_answers(self):
        self.stage.answering()

    def teardown(self):
        self.stage.database.is_away = False
        for hub in self.alive():
            hub.thaw()
            hub.join()
        if not self.alive():
            self.start()
        self.stage.tick(40)
        assert len(self.stage.answering()) == 1
        self.stage.end()


TestFaults = Faults.TestCase
TestFaults.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
