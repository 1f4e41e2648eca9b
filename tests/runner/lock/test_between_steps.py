"""What others do to npm's lock file between two of our steps: theirs ends up in place, ours never
beside a living one's.
"""

import errno
import os

import pytest
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.process import MemoryProcesses
from hapi.runner.lock import npm_lock as npmlock
from hapi.runner.lock.home_lock import HomeHeld, LockUnusable, RunnerLock

RUNNER = ("node", "hapi", "runner", "start-sync")
THEIRS, STALE = 4321, "999"
case = SynchronousTestCase()


class Scene:
    """Our starter, a stale lock, and an npm runner with pid 4321 that acts once at each of `acts`'
    steps.
    """

    def __init__(self, home, acts):
        self.home, self.acts, self.clock, self.seen = home, dict(acts), Clock(), []
        self.processes = MemoryProcesses()
        self.processes.add(*RUNNER, pid=THEIRS, environment={"HAPI_HOME": str(home.path)})
        home.npm_lock.write_text(STALE)
        self.lock = RunnerLock(home, self.processes, self.clock, step=self.step)

    def step(self, name):
        self.seen.append(name)
        act = self.acts.pop(name, None)
        if act is not None:
            act(self.home.npm_lock)

    def run(self):
        """How it ended: the lock, or why not."""
        done = self.lock.acquire()
        self.clock.pump([0.05] * 40)
        try:
            if done.called and not hasattr(done.result, "check"):
                return "ours"
            return case.failureResultOf(done).value
        finally:
            self.in_place = self.home.npm_lock.read_text() if self.home.npm_lock.exists() else None
            self.left = sorted(
                path.name for path in self.home.path.glob("runner.state.json.lock.*")
            )
            self.lock.release()


def theirs_instead(path):
    path.unlink(missing_ok=True)
    path.write_text(str(THEIRS))


def gone(path):
    path.unlink(missing_ok=True)


@pytest.fixture(params=[True, False], ids=["exchanged", "in two steps"])
def exchanges(request, monkeypatch):
    if not request.param:

        def refuse(*_):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(npmlock, "exchange", refuse)
    return request.param


@pytest.mark.parametrize("step", ["sibling made", "sibling written", "judging", "judged stale"])
def test_a_living_runners_lock_made_meanwhile_holds_the_home__L02_L03(home, exchanges, step):
    scene = Scene(home, {step: theirs_instead})
    held = scene.run()
    if (
        step == "judging"
    ):  # what we judged is no longer there: theirs comes out of the exchange, and goes back
        assert "exchanged back" in scene.seen or not exchanges
    assert isinstance(held, HomeHeld)
    assert (held.pid, scene.in_place, scene.left) == (THEIRS, str(THEIRS), [])


@pytest.mark.parametrize("step", ["sibling made", "sibling written", "judging", "judged stale"])
def test_a_lock_that_is_gone_meanwhile_leaves_the_home_to_us__L02(home, exchanges, step):
    scene = Scene(home, {step: gone})
    assert scene.run() == "ours"
    assert (scene.in_place, scene.left) == (str(os.getpid()), [])


def test_a_living_runners_lock_goes_back_even_when_ours_was_taken_away_in_between__L02(home):
    """We exchanged for a lock that was not the judged one; before we exchange back, somebody's
    clean-up deletes ours.
    """
    scene = Scene(home, {"judged stale": theirs_instead, "exchanged": gone})
    held = scene.run()
    assert isinstance(held, HomeHeld)
    assert (held.pid, scene.in_place, scene.left) == (THEIRS, str(THEIRS), [])


def test_of_two_living_ones_the_one_in_place_stays__L02(home):
    """As before, but another lock was made where ours had been: nothing is put over it."""

    def anothers(path):
        path.unlink()
        path.write_text("4322")

    scene = Scene(home, {"judged stale": theirs_instead, "exchanged": anothers})
    scene.processes.add(*RUNNER, pid=4322, environment={"HAPI_HOME": str(home.path)})
    held = scene.run()
    assert isinstance(held, HomeHeld)
    assert scene.in_place in (str(THEIRS), "4322")


def test_whoever_is_faster_while_the_path_is_empty_has_the_home__L02(home, monkeypatch):
    """Where names cannot be exchanged, npm's starter makes its lock just after the stale one was
    set aside.
    """

    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(npmlock, "exchange", refuse)
    scene = Scene(home, {"set aside": theirs_instead})
    held = scene.run()
    assert isinstance(held, HomeHeld)
    assert (held.pid, scene.in_place, scene.left) == (THEIRS, str(THEIRS), [])


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_an_exchange_that_fails_for_another_reason_is_said_in_words__S02(home, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(npmlock, "exchange", refuse)
    scene = Scene(home, {})
    unusable = scene.run()
    assert isinstance(unusable, LockUnusable)
    assert os.strerror(number) in str(unusable)
    assert (scene.in_place, scene.left) == (STALE, [])


def test_what_cannot_be_put_over_the_lock_leaves_it_as_it_was__S02(home, monkeypatch):
    scene = Scene(home, {})
    assert scene.run() == "ours"
    file = npmlock.NpmLockFile(home, None)
    home.npm_lock.write_text("1234")

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(npmlock.os, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        file.replace()
    file.close()
    assert home.npm_lock.read_text() == "1234"
    assert list(home.path.glob("runner.state.json.lock.*")) == []
