"""A holder whose fork fails: put in the place of the real one."""

import errno
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../hapi/process"))
import holder


def refuse(*_args: object, **_more: object) -> int:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


os.posix_spawnp = refuse  # type: ignore[assignment]
holder.main(sys.argv[1], sys.argv[2], sys.argv[3:])
