"""The command line of this process, as other users see it in the list of processes."""

from __future__ import annotations

MEMORY, STAT = "/proc/self/mem", "/proc/self/stat"  # proc(5)
ARG_START, ARG_END = 45, 46  # fields 48 and 49 of STAT, counted from the one after the name


def replace_in_command_line(text: str, by: str) -> bool:
    """Show `by`, which must be as long, instead of `text` in the list of processes; whether that
    was possible. `sys.argv` stays.

    Without a /proc that may be written nothing happens. Until here everybody could read it anyway.
    """
    old, new = (each.encode("utf-8", "surrogateescape") for each in (text, by))
    if len(old) != len(new):
        raise ValueError("both texts must have the same length")
    try:
        start, end = _place()
        with open(MEMORY, "r+b", buffering=0) as memory:
            memory.seek(start)
            shown = memory.read(end - start)
            memory.seek(start)
            memory.write(shown.replace(old, new))
    except (OSError, ValueError, IndexError):
        return False
    return True


def _place() -> tuple[int, int]:
    """Where the kernel reads the command line, as addresses in our memory."""
    with open(STAT, "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[ARG_START]), int(fields[ARG_END])
