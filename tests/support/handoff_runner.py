"""`hapi` with less patience in hand-offs: `handoff_runner.py SECONDS WORDS…`.

HAPI_TEST_AT=STEP=SIGNAL befalls a replacement.
"""

import os
import signal
import sys

from hapi.__main__ import main
from hapi.runner.handoff import outgoing as handoff
from hapi.runner.handoff import trial
from hapi.runner.handoff import upgrade as watch
from hapi.runner.service import RunnerService

handoff.HANDOFF_TIMEOUT = float(sys.argv[1])
trial.TRIAL_TIMEOUT = 120.0  # a start takes longer than 20 s where many tests run at once
watch.CONFIRM_DELAY, watch.FAILURE_DELAY, watch.MAX_TRIES = 0.2, 1.5, 1000
step, _, name = os.environ.get("HAPI_TEST_AT", "").partition("=")
told = RunnerService._step


def befall(self, at):
    told(self, at)
    if at == step and self.handoff.inherited is not None:
        os.kill(os.getpid(), signal.Signals[name])


RunnerService._step = befall
sys.exit(main(sys.argv[2:]))
