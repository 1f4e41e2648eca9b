"""Programs that do not want to end, or to be found. Run as `python hostile.py SHAPE BEGIN`.

Waits for the file BEGIN: one that stops whoever starts it would stop the start as well. Says
`ready` when it is what it says. Every process of them ends by itself after a minute, whatever
a test forgets.
"""

import os
import signal
import subprocess
import sys
import time

MINUTE = 60


def spawn(*code: str) -> None:
    subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            "\n".join(("import os, signal, time", f"signal.alarm({MINUTE})", *code)),
        ]
    )


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def ignores_term() -> None:
    deaf()
    spawn("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "time.sleep(60)")


def double_forks() -> None:
    if os.fork() == 0:
        if os.fork() != 0:
            os._exit(0)
        deaf()
        rest()
    os.wait()


def own_session() -> None:
    if os.fork() == 0:
        os.setsid()
        deaf()
        rest()


def daemon_with_clean_environment() -> None:
    """Leaves session, parent and mark behind, and takes another name."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.execve("/bin/sleep", ["innocent", "60"], {})
    os.wait()


def fork_storm() -> None:
    """Each process makes a successor and ends, so that whoever is seen is gone."""
    for _ in range(4):
        if os.fork() == 0:
            deaf()
            until = time.monotonic() + MINUTE / 2
            while time.monotonic() < until:
                if os.fork() != 0:
                    os._exit(0)
                time.sleep(0.002)  # a storm that leaves the machine some air
            os._exit(0)


def storm_of_sessions() -> None:
    """The same, each in a session of its own, and without a pause."""
    for _ in range(2):
        if os.fork() == 0:
            deaf()
            until = time.monotonic() + MINUTE / 2
            while time.monotonic() < until:
                if os.fork() != 0:
                    os._exit(0)
                os.setsid()
            os._exit(0)


def stops_itself() -> None:
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        rest()
    say_ready()
    os.kill(os.getpid(), signal.SIGSTOP)


def floods() -> None:
    deaf()
    say_ready()
    line = b"x" * 65535 + b"\n"
    until = time.monotonic() + MINUTE
    while time.monotonic() < until:
        os.write(1, line)


def execs_into_another() -> None:
    if os.fork() == 0:
        deaf()
        os.execve("/bin/sleep", ["sleep", "60"], {})


def exits_while_forking() -> None:
    """Gone at the first word, with fresh children all the time until then."""

    def go(*_: object) -> None:
        for _ in range(5):
            if os.fork() == 0:
                deaf()
                rest()
        os._exit(0)

    signal.signal(signal.SIGTERM, go)


def many_children() -> None:
    for _ in range(40):
        if os.fork() == 0:
            deaf()
            rest()


def deep() -> None:
    for _ in range(15):
        if os.fork() != 0:
            break
    else:
        say_ready()
    deaf()
    rest()


def stops_its_holder() -> None:
    os.kill(os.getppid(), signal.SIGSTOP)
    deaf()


def say_ready() -> None:
    os.write(1, b"ready\n")


def rest() -> None:
    signal.alarm(MINUTE)
    while True:
        signal.pause()


SHAPES = {
    shape.__name__: shape
    for shape in (
        ignores_term,
        double_forks,
        own_session,
        daemon_with_clean_environment,
        fork_storm,
        storm_of_sessions,
        stops_itself,
        floods,
        execs_into_another,
        exits_while_forking,
        many_children,
        deep,
        stops_its_holder,
    )
}

if __name__ == "__main__":
    signal.alarm(MINUTE)
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)  # it imports little: a look at a file is all that it can wait with
    SHAPES[sys.argv[1]]()
    say_ready()
    rest()
