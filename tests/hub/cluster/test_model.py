"""Three hubs that claim, append, die, are stopped and come back, in any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.cluster_model import ClusterModel
from tests.support.store_stage import empty_database

NUMBERS = st.integers(0, 5)


class Hubs(RuleBasedStateMachine):
    model: ClusterModel

    def shared(self) -> Any:
        """The database; None: one in memory."""
        return None

    @initialize()
    def start(self) -> None:
        self.model = ClusterModel(self.shared())
        for process in self.model.processes.values():
            process.look()

    def hub(self, number: int) -> Any:
        return self.model.hubs[number % len(self.model.hubs)]

    def process(self, number: int) -> Any:
        return list(self.model.processes.values())[number % 2]

    @rule(number=NUMBERS, count=st.integers(1, 3))
    def say(self, number: int, count: int) -> None:
        if self.process(number).is_alive:
            for _ in range(count):
                self.process(number).say()

    @rule(process=NUMBERS, hub=NUMBERS)
    def connect(self, process: int, hub: int) -> None:
        self.process(process).connect(self.hub(hub))

    @rule(page=NUMBERS, hub=NUMBERS)
    def move_page(self, page: int, hub: int) -> None:
        self.model.pages[page % 2].open(self.hub(hub))

    @rule(number=NUMBERS)
    def end(self, number: int) -> None:
        self.process(number).end()

    @rule(number=NUMBERS)
    def kill_process(self, number: int) -> None:
        if number == 0:
            self.process(number).kill()

    @precondition(lambda self: len(self.model.hubs) > 1)
    @rule(number=NUMBERS)
    def kill(self, number: int) -> None:
        self.model.kill(self.hub(number))

    @precondition(lambda self: len(self.model.hubs) > 1)
    @rule(number=NUMBERS)
    def leave(self, number: int) -> None:
        if self.model.is_running(hub := self.hub(number)) and not hub.memory.is_cut:
            self.model.leave(hub)

    @precondition(lambda self: len(self.model.hubs) < 4)
    @rule()
    def start_hub(self) -> None:
        self.model.start()

    @rule(number=NUMBERS)
    def stop(self, number: int) -> None:
        self.model.stop(self.hub(number))

    @rule(number=NUMBERS, reads_first=st.booleans())
    def go_on(self, number: int, reads_first: bool) -> None:
        if not self.model.is_running(hub := self.hub(number)):
            self.model.resume(hub, reads_first)

    @rule(number=NUMBERS, hub=NUMBERS, reads_first=st.booleans())
    def overtake(self, number: int, hub: int, reads_first: bool) -> None:
        """A session leaves a hub that stands still, where its messages wait."""
        process = self.process(number)
        if process.is_alive and (left := process.hub) is not None:
            self.model.stop(left)
            process.say()
            process.connect(self.hub(hub))
            self.model.resume(left, reads_first)

    @rule(number=NUMBERS)
    def cut(self, number: int) -> None:
        self.hub(number).memory.cut()

    @rule(number=NUMBERS)
    def reconnect(self, number: int) -> None:
        self.hub(number).memory.reconnect()

    @rule(number=NUMBERS)
    def lose_answer(self, number: int) -> None:
        self.hub(number).memory.lost_answers += 1

    @rule(seconds=st.sampled_from([1, 1, 3, 12, 35]))
    def wait(self, seconds: int) -> None:
        self.model.tick(seconds)

    @rule()
    def read(self) -> None:
        self.model.stage.settle()

    def teardown(self) -> None:
        if hasattr(self, "model"):
            try:
                self.model.check()
            finally:
                self.model.stage.shared.close()


# A failure is shown as it was found: to shrink it takes minutes.
LIMITS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestHubs = Hubs.TestCase
TestHubs.settings = settings(LIMITS, max_examples=15, stateful_step_count=25)


@pytest.mark.parametrize("reads_first", [False, True])
def test_what_waited_at_a_stopped_hub_is_stored_once(reads_first: bool) -> None:
    model = ClusterModel()
    process = next(iter(model.processes.values()))
    process.connect(model.hubs[1])
    model.stop(model.hubs[1])
    for _ in range(3):
        process.say()
    process.connect(model.hubs[2])
    model.resume(model.hubs[1], reads_first)
    process.say()
    model.check()


@pytest.mark.postgres
def test_three_hubs_on_postgres(database_url: str) -> None:
    class PostgresHubs(Hubs):
        def shared(self) -> Any:
            from tests.support.shared_postgres import DatabaseClock, SharedPostgres

            empty_database(database_url)
            return SharedPostgres(DatabaseClock(), database_url)

    run_state_machine_as_test(
        PostgresHubs, settings=settings(LIMITS, max_examples=3, stateful_step_count=12)
    )
