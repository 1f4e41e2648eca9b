"""Which hub a session goes to, and when it goes over, on a Clock."""

import json

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from hapi.attempts import AttemptFolder
from hapi.home import Home
from hapi.net.common.errors import HubRefused, HubUnreachable
from hapi.protocol.attempt import AttemptHubAccess, AttemptRequest
from hapi.session.hub.access import AccessSources, HubFollower
from hapi.settings import HubAccess

OLD = HubAccess("http://old:3006", "old-token")
NEW = HubAccess("http://new:3006", "new-token")
BY_RUNNER = {"HAPI_API_URL": OLD.url, "CLI_API_TOKEN": OLD.token}


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home").prepare()
    save(made, OLD)
    return made


def save(home, access):
    home.settings.write_text(json.dumps({"apiUrl": access.url, "cliApiToken": access.token}))


class Case:
    def __init__(self, home, environ=BY_RUNNER, by_runner=True):
        self.folder = AttemptFolder.create(home, AttemptRequest(argv=("hapi",), cwd="/", at=1.0))
        self.is_runner_alive = True
        self.sources = AccessSources(
            home, environ, self.folder, by_runner, lambda: self.is_runner_alive
        )

    def tell(self, access):
        self.folder.hub = AttemptHubAccess(access.url, access.token)


def test_nobody_names_another_hub(home):
    assert Case(home).sources.current() is None


def test_what_the_runner_tells_counts_as_long_as_it_is_there(home):
    case = Case(home)
    case.tell(NEW)
    assert case.sources.current() == NEW
    case.folder.remove_hub()
    assert case.sources.current() is None


def test_the_settings_count_for_a_runners_session_only_without_a_runner(home):
    case = Case(home)
    save(home, NEW)
    assert case.sources.current() is None
    case.is_runner_alive = False
    assert case.sources.current() == NEW


def test_settings_that_name_another_hub_from_the_start_do_not_count(home):
    """The runner had its hub from its environment."""
    save(home, evolve(NEW, token="x"))
    case = Case(home)
    case.is_runner_alive = False
    assert case.sources.current() is None


def test_settings_that_cannot_be_read_or_have_no_token_change_nothing(home):
    case = Case(home)
    case.is_runner_alive = False
    for content in ("{", "{}", '{"cliApiToken": 5}'):
        home.settings.write_text(content)
        assert case.sources.current() is None
    save(home, NEW)
    assert case.sources.current() == NEW


def test_a_session_of_a_terminal_follows_the_settings_unless_its_variables_say_otherwise(home):
    plain, bound = Case(home, {}, by_runner=False), Case(home, BY_RUNNER, by_runner=False)
    save(home, NEW)
    assert plain.sources.current() == NEW
    assert bound.sources.current() is None


class FollowedLink:
    def __init__(self):
        self.access = OLD

    def use(self, access):
        self.access = access


class Follow:
    def __init__(self):
        self.clock, self.link, self.named, self.asked = Clock(), FollowedLink(), None, []
        self.problem, self.hidden = None, []
        self.follower = HubFollower(
            self.clock, self.link, "s", lambda: self.named, self.hidden.append, self.client
        )
        self.follower.start()

    def client(self, clock, access):
        self.asked.append(access)
        return self

    async def session(self, session_id):
        if self.problem is not None:
            raise self.problem
        return {"id": session_id}


@pytest.fixture
def follow():
    made = Follow()
    yield made
    made.follower.stop()
    assert not made.clock.getDelayedCalls()


def test_a_session_goes_over_to_a_hub_that_has_it(follow):
    follow.clock.advance(2)
    assert follow.asked == []
    follow.named = NEW
    follow.clock.advance(2)
    assert follow.link.access == NEW
    assert follow.hidden == [NEW]
    follow.clock.advance(20)
    assert follow.asked == [NEW]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_it_stays_while_the_other_hub_refuses_it_and_asks_now_and_again(follow, status):
    follow.named, follow.problem = NEW, HubRefused(status, "no")
    follow.clock.pump([2] * 6)
    assert follow.link.access == OLD
    assert len(follow.asked) == 2
    follow.problem = None
    follow.clock.pump([2] * 6)
    assert follow.link.access == NEW


def test_it_asks_a_hub_that_is_away_each_time(follow):
    follow.named, follow.problem = NEW, HubUnreachable("nothing listens")
    follow.clock.pump([2] * 3)
    assert len(follow.asked) == 3
    follow.problem = None
    follow.clock.advance(2)
    assert follow.link.access == NEW


def test_another_token_is_tried_at_once_after_a_refused_one(follow):
    follow.named, follow.problem = NEW, HubRefused(401, "Invalid token")
    follow.clock.advance(2)
    follow.named, follow.problem = evolve(NEW, token="right"), None
    follow.clock.advance(2)
    assert follow.link.access.token == "right"
