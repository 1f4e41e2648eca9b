"""Fixtures of the session's tests."""

import pytest

from tests.support.session_stage import SessionStage


@pytest.fixture
def staged(home):
    """Makes a session in memory; what still runs after the test is ended."""
    stages = []

    def make(**more):
        stages.append(SessionStage(home, **more))
        return stages[-1]

    yield make
    for stage in stages:
        stage.settle()


@pytest.fixture
def up(staged):
    """A session whose agent takes prompts."""
    return staged().up()
