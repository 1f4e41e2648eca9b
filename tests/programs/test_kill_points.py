"""The points at which the kill tests end a runner are named as text: every name has to exist."""

import importlib
from operator import attrgetter

import pytest

from tests.support.kill_runner import PLACES


@pytest.mark.parametrize("place", sorted({place for places in PLACES.values() for place in places}))
def test_every_point_of_the_kill_tests_names_a_function(place):
    module, _, name = place.partition(":")
    assert callable(attrgetter(name)(importlib.import_module(module)))
