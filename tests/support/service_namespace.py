"""A mount namespace with one more user, in which every user can run our program."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

UNSHARE = ["unshare", "--mount", "--propagation", "private"]
PASSWD = Path("/etc/passwd")


def can_have_one() -> bool:
    """Whether this process may make such a namespace."""
    probe = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(probe, check=False, capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def in_namespace(place: Path, entry: str) -> list[str]:
    """The words before a command that runs it there. `entry`: the user's line of passwd(5).

    The directories of Python and of our code are made readable for everybody where a directory
    above them is private. `place` is an empty directory for what this needs.
    """
    users = place / "passwd"
    users.write_text(PASSWD.read_text() + entry + "\n")
    needed = dict.fromkeys(
        str(Path(path).resolve()) for path in (sys.prefix, sys.base_prefix, ROOT)
    )
    hidden = {path: above for path in needed if (above := hidden_above(Path(path))) is not None}
    lines = ["set -e", f"mount --bind {shlex.quote(str(users))} {PASSWD}"]
    for number, path in enumerate(hidden):
        keep = place / f"kept-{number}"
        keep.mkdir()
        lines.append(f"mount --bind {shlex.quote(path)} {shlex.quote(str(keep))}")
    for above in dict.fromkeys(hidden.values()):
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(above))}")
    for number, path in enumerate(hidden):
        quoted = shlex.quote(path)
        lines.append(f"mkdir -p {quoted}")
        lines.append(f"mount --bind {shlex.quote(str(place / f'kept-{number}'))} {quoted}")
    script = place / "enter.sh"
    script.write_text("\n".join([*lines, 'exec "$@"']) + "\n")
    return [*UNSHARE, "sh", str(script)]


def hidden_above(path: Path) -> Path | None:
    """The first directory above `path` that not everybody may enter."""
    return next(
        (above for above in reversed(path.parents) if not above.stat().st_mode & 0o001), None
    )
