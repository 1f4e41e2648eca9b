"""Fixtures of the session's tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from session_stage import SessionStage


@pytest.fixture
def staged(home):
    """Makes a session in memory."""
    return lambda **more: SessionStage(home, **more)


@pytest.fixture
def up(staged):
    """A session whose agent takes prompts."""
    return staged().up()
