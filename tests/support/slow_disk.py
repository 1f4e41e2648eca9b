"""Our program on a disk that is slow to sync: while the file that SLOW_DISK names is there, every
fsync waits.

Run with the words that come after `hapi`.
"""

import os
import sys
import time

GATE = os.environ["SLOW_DISK"]
sync = os.fsync


def fsync(descriptor: int) -> None:
    while os.path.exists(GATE):
        time.sleep(0.01)  # the disk's time, not the test's
    sync(descriptor)


os.fsync = fsync

from hapi.__main__ import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
