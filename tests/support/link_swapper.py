"""A program that exchanges files and directories for symbolic links, as fast as it can.

    python link_swapper.py DIRECTORY OUTSIDE

In DIRECTORY, `file` is in turn a file and a link to OUTSIDE/file, and `folder` in turn a directory
and a link to OUTSIDE. It prints a line when it has begun and runs until it is killed.
"""

import os
import sys

directory, outside = sys.argv[1:]
os.chdir(directory)
for name, target in (("file", f"{outside}/file"), ("folder", outside)):
    os.symlink(target, f"{name}.link")
print("swapping", flush=True)
while True:
    for name in ("file", "folder"):
        os.rename(name, f"{name}.real")
        os.rename(f"{name}.link", name)
        os.rename(name, f"{name}.link")
        os.rename(f"{name}.real", name)
