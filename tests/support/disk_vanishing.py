"""Files that another process removes between the reading of a directory and the look at each."""

import os
from contextlib import contextmanager


@contextmanager
def removed_after_listing(monkeypatch, *paths):
    """While this holds, `paths` are removed as soon as any directory was read by `os.scandir`."""
    scandir = os.scandir

    class Listing(list):
        def __enter__(self):
            return iter(self)

        def __exit__(self, *_):
            return None

    def listed(path="."):
        with scandir(path) as entries:
            found = Listing(entries)
        for gone in paths:
            gone.unlink(missing_ok=True)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", listed)
        yield
