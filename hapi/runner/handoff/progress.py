"""The states of an outgoing hand-off.

    starting ─started─▶ loading ─ready─▶ quiescing ─quiesced─▶ verifying ─verified─▶ confirming
                           │                 │                     │                     │    │
                           └────────roll_back┴──────────┬──────────┴─────────────────────┘ confirmed
                                                        ▼                                     ▼
                          serving ◀─resumed─ rolling back                                handed over

A roll-back happens once, whoever asks for it, and never after the replacement has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred

from hapi.one_shot import OneShotObserver


@define(eq=False, repr=False)
class HandoffStates:
    """The state of one hand-off. `end_and_resume` is the body of the state `rolling back`."""

    end_and_resume: Callable[[], Coroutine[Deferred[Any], Any, None]]
    rolling_back: Deferred[None] | None = None  # None before the state `rolling back`
    rolled_back: OneShotObserver[None] = field(factory=OneShotObserver)

    def begin_rolling_back(self) -> None:
        self.rolling_back = Deferred.fromCoroutine(self.end_and_resume())
        self.rolling_back.addBoth(self.rolled_back.fire)


class HandoffProgress(Protocol):
    """The inputs of the hand-off's state machine."""

    def started(self) -> None:
        """The process of the replacement runs."""

    def ready(self) -> None:
        """The replacement has loaded and holds the lock."""

    def quiesced(self) -> None:
        """This runner has finished what had begun."""

    def verified(self) -> None:
        """The replacement serves as expected."""

    def confirmed(self) -> None:
        """The replacement regards the home as its own."""

    def roll_back(self) -> None:
        """The hand-off failed or this runner stops: end the replacement and resume, once.

        Does nothing before the start and after the confirmation.
        """

    def resumed(self) -> None:
        """The replacement is gone and this runner serves."""


def _build() -> Callable[[HandoffStates], HandoffProgress]:
    builder = TypeMachineBuilder(HandoffProgress, HandoffStates)

    starting, loading = builder.state("starting"), builder.state("loading")
    quiescing, verifying = builder.state("quiescing"), builder.state("verifying")
    confirming, handed_over = builder.state("confirming"), builder.state("handed over")
    rolling_back, serving = builder.state("rolling back"), builder.state("serving")

    starting.upon(HandoffProgress.started).to(loading).returns(None)
    loading.upon(HandoffProgress.ready).to(quiescing).returns(None)
    quiescing.upon(HandoffProgress.quiesced).to(verifying).returns(None)
    verifying.upon(HandoffProgress.verified).to(confirming).returns(None)
    confirming.upon(HandoffProgress.confirmed).to(handed_over).returns(None)

    for state in (loading, quiescing, verifying, confirming):

        @state.upon(HandoffProgress.roll_back).to(rolling_back)
        def begin(progress: HandoffProgress, states: HandoffStates) -> None:
            states.begin_rolling_back()

    rolling_back.upon(HandoffProgress.resumed).to(serving).returns(None)
    for state in (starting, handed_over, rolling_back, serving):
        state.upon(HandoffProgress.roll_back).loop().returns(None)

    # A step may end in the moment in which another caller has begun to roll back.
    for state in (rolling_back, serving):
        for late in (
            HandoffProgress.ready,
            HandoffProgress.quiesced,
            HandoffProgress.verified,
            HandoffProgress.confirmed,
        ):
            state.upon(late).loop().returns(None)
    return builder.build()


progress_of = _build()
