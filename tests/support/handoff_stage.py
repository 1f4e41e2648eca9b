"""Stand-ins for the tests of the hand-off: builds on a disk, replacements, a scene with both
runners."""

from attrs import define

from hapi.build import Build

OLD, NEW, NEWER = Build("1", "a"), Build("1", "b"), Build("2", "c")


@define
class Disk:
    """A package: installed, or being copied (None); `broken`: files vanish during the check."""

    now: Build | None = OLD
    touched: bool = False
    broken: bool = False
    reads: int = 0
    started_mtime_ms: float = 1000.0

    def running(self):
        return OLD

    def installed(self):
        self.reads += 1
        return self.now

    def has_changed(self):
        if self.broken:
            raise FileNotFoundError("gone")
        return (self.touched or self.now != OLD) and self.installed() not in (None, OLD)
