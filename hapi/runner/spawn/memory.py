"""How much memory programs can still get on this machine."""

from __future__ import annotations

from pathlib import Path


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that programs can still get, on the machine and in this process's control group.

    None where neither figure can be read.
    """
    import psutil  # 18 ms: only for the first spawn that is checked, or the first `status`

    found = []
    try:
        found.append(int(psutil.virtual_memory().available))
    except (OSError, RuntimeError, ValueError, KeyError):
        pass
    try:  # by hand: psutil does not know the limits of control groups
        group = root / "sys/fs/cgroup"
        limit, used = (group / "memory.max").read_text(), (group / "memory.current").read_text()
        found.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass  # no limit ("max"), or no control groups
    return max(min(found), 0) if found else None
