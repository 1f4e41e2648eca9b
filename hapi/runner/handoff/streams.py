"""The output of a replacement: a file of its own during the hand-off, then that of its predecessor.

So the reason why a replacement fails can be read, and afterwards the output goes where it always
went: to systemd's journal, a terminal, or the file of the first start.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from attrs import define

STREAMS = "HAPI_RUNNER_HANDOFF_STREAMS"  # two descriptors: standard output and standard error
MAX_FORWARDED = 64 << 10  # bytes


@define(eq=False, repr=False)
class OutputStreams:
    """Duplicates of the standard output and standard error of the outgoing runner."""

    output: int
    error: int

    @classmethod
    def duplicate(cls) -> OutputStreams:
        """Of this process. Raises OSError when one is closed."""
        output = os.dup(1)
        try:
            return cls(output, os.dup(2))
        except OSError:
            os.close(output)
            raise

    def environment(self) -> dict[str, str]:
        return {STREAMS: f"{self.output},{self.error}"}

    def use(self) -> None:
        """Make them the standard output and standard error of this process, and close them."""
        for given, standard in ((self.output, 1), (self.error, 2)):
            with suppress(OSError):
                os.dup2(given, standard)
        self.close()

    def close(self) -> None:
        for descriptor in (self.output, self.error):
            with suppress(OSError):
                os.close(descriptor)


def take_streams(environ: MutableMapping[str, str]) -> OutputStreams | None:
    """Remove the variable from `environ`; None if it names no open descriptors."""
    value = environ.pop(STREAMS, "")
    try:
        output, error = (int(word) for word in value.split(","))
        if min(output, error) < 3:
            return None
        for descriptor in (output, error):
            os.set_inheritable(descriptor, False)
    except (ValueError, OverflowError, OSError):
        return None
    return OutputStreams(output, error)


def forward_output(path: Path, descriptor: int = 1) -> None:
    """Move what was printed to the file at `path` to `descriptor`. Never raises."""
    with suppress(OSError):
        with path.open("rb") as file:
            text = file.read(MAX_FORWARDED)
        path.unlink()
        while text:
            text = text[os.write(descriptor, text) :]
