"""A file system of a few megabytes that a test can fill."""

import os
import subprocess
from pathlib import Path

import pytest


def mount_small_disk(place: Path, size: str) -> None:
    """Mount a file system of `size` (as `mount` understands it) at `place`. Skips the test if this
    user may not."""
    place.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", place],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system")


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", place], check=False)


def fill(place: Path) -> Path:
    """Leave no room; the file that takes it."""
    filler = place / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for size in (1 << 20, 1 << 12, 1):
        try:
            while True:
                os.write(descriptor, b"x" * size)
        except OSError:
            continue
    os.close(descriptor)
    return filler
