"""`make` sets an environment up, and up again when it was interrupted in the middle."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
PYTHON = """#!/bin/sh
mkdir -p "$3/bin" && printf '#!/bin/sh\\n' > "$3/bin/python" && chmod +x "$3/bin/python"
"""
# A redirection of the shell itself: a child of its own (touch) could end after the signal, and the
# shell would go on to sleep.
HANGS = """#!/bin/sh
: > .venv/half; exec sleep 600
"""


class Place:
    """A directory with the Makefile, and a python that makes environments at once."""

    def __init__(self, path: Path, makefile: Path) -> None:
        self.path, self.venv = path, path / ".venv"
        shutil.copy(makefile, path)
        (path / "setup.cfg").write_text("")
        for name, text in (("python", PYTHON), ("hangs", HANGS)):
            (path / name).write_text(text)
            (path / name).chmod(0o755)

    def begin(self, pip: str, **environ: str) -> subprocess.Popen[str]:
        words = ["make", f"PYTHON={self.path}/python", f"PIP={pip}", ".venv/.ready-up"]
        return subprocess.Popen(
            words,
            cwd=self.path,
            env={**os.environ, **environ},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def make(self, pip: str, **environ: str) -> tuple[int, str]:
        begun = self.begin(pip, **environ)
        told, _ = begun.communicate(timeout=300)
        return begun.returncode, told

    def interrupted(self, number: int) -> None:
        begun = self.begin("./hangs")
        deadline = time.monotonic() + 300
        while not (self.venv / "half").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(begun.pid, number)
        begun.communicate(timeout=300)


@pytest.fixture
def place(tmp_path, pytestconfig):
    return Place(tmp_path, pytestconfig.rootpath / "Makefile")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_an_interrupted_pip_left_is_made_anew(place, number):
    place.interrupted(number)
    assert not (place.venv / ".ready-up").exists()
    assert place.make("true")[0] == 0
    assert (place.venv / ".ready-up").exists()
    assert not (place.venv / "half").exists()
    assert not (place.venv / ".unfinished").exists()


def test_a_pip_that_fails_leaves_what_was_ready(place):
    assert place.make("true")[0] == 0
    (place.venv / "kept").touch()
    os.utime(place.path / "setup.cfg", (2_000_000_000, 2_000_000_000))
    assert place.make("false")[0] != 0
    assert place.make("true")[0] == 0
    assert (place.venv / "kept").exists()


def test_two_makes_do_not_install_into_one_environment(place):
    place.make("true")
    (place.venv / ".ready-up").unlink()
    (place.venv / ".unfinished").write_text(f"{os.getpid()}\n")
    code, told = place.make("true")
    assert code != 0
    assert "another make installs into .venv" in told


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_paths_of_every_language_are_installed_whatever_the_locale(place, locale):
    (place.path / "pip").write_text("#!/bin/sh\nlocale charmap > installed-in\n")
    (place.path / "pip").chmod(0o755)
    code, told = place.make("./pip", LC_ALL=locale)
    assert (code, (place.path / "installed-in").read_text()) == (0, "UTF-8\n"), told
