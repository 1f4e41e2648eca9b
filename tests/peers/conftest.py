"""Fixtures of the tests against the npm programs and real agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.model_endpoint import Model
from tests.support.peers import Cast
from tests.support.programs import CANARY


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as served:
        yield served


@pytest.fixture
def cast(on_stage: Callable[[Cast], Cast], tmp_path: Path, model: Model) -> Cast:
    """A stage with real agents that ask the scripted model."""
    made = on_stage(Cast(tmp_path / "stage", token=CANARY))
    made.agents(model.url)
    return made
