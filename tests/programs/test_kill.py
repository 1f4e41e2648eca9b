"""The runner killed at every point of its life, and whenever chance wants: nothing is lost,
doubled, orphaned or torn.

HAPI_SEED chooses the moments, HAPI_FAULTS how many there are (see support.level).
"""

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import psutil
import pytest

from tests.support.kill_runner import points
from tests.support.kills import AFTER_A_KILL, Doomed, fall_at, kill_at_random, running_hub
from tests.support.programs import Stage, alive, level, until

pytestmark = pytest.mark.program
SEED = int(os.environ.get("HAPI_SEED", "1"))
SIDES = ("before", "after") if level(0, 1000) else ("after",)
ROUNDS = level(1, 20)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub for all tests of this module."""
    with running_hub(tmp_path_factory.mktemp("hub")) as address:
        yield address


@pytest.fixture
def machines(on_stage, tmp_path, hub):
    """Two of them, to be used at once."""
    made = [Doomed(on_stage(Stage(tmp_path / name)), hub) for name in ("one", "other")]
    yield made
    for machine in made:
        machine.release_strangers()


def on_both(machines, work, cases):
    """`work(machine, its half of the cases)` on both machines at once."""
    with ThreadPoolExecutor(len(machines)) as pool:
        list(
            pool.map(
                work, machines, [cases[number :: len(machines)] for number in range(len(machines))]
            )
        )


def test_killed_at_any_point_the_next_runner_knows_everything__P04_L12_L13_S01_S11_C14_C17(
    machines, capsys
):
    starts = [("start", point) for point in points("start", *SIDES)] * ROUNDS
    others = [
        (phase, point)
        for phase in ("spawn", "stop", "beat", "leave")
        for point in points(phase, *SIDES)
    ] * ROUNDS
    pairs = list(zip_longest(starts, others))

    def live_and_die(machine, pairs):
        program = machine.come_up()
        for kind in ("patient", "patient-brood"):
            machine.begin_spawn(kind).join()
        for start, other in pairs:
            for case in filter(None, (other, start)):
                if case[0] == "stop":
                    machine.begin_spawn().join()
                fall_at(machine, *case)
            program = machine.come_up()
            machine.is_sound(program.pid, f"{other}, {start}")
        machine.close()

    on_both(machines, live_and_die, pairs)
    slowest = max(machine.slowest for machine in machines)
    with capsys.disabled():
        print(
            f" [{len(starts) + len(others)} kills; the slowest start took {slowest:.1f} s]", end=""
        )


@pytest.mark.parametrize("who", ["old", "new"])
def test_killed_at_any_point_of_a_hand_off_one_runner_has_it_all__P04_H01_H02_G6(
    machines, who, capsys
):
    cases = points(who, *SIDES) * ROUNDS

    def hand_over(machine, cases):
        machine.come_up()
        for kind in ("patient", "patient-brood"):
            machine.begin_spawn(kind).join()
        (pid,) = machine.runners()
        for point in cases:
            until(
                lambda: (
                    (seen := machine.look())
                    and seen["current"]
                    and seen["hub"]["phase"] == "connected"
                ),
                AFTER_A_KILL,
            )
            machine.set_trap(point, pid=pid if who == "old" else -pid)
            machine.install_another_build()
            until(machine.has_fallen, what=f"somebody to come to {point}")
            if point in (
                "before:OutgoingHandoff.run",
                "before:start_replacement",
            ):  # then there is nobody else yet
                until(lambda: not machine.runners())
                machine.come_up()

            def settled():
                seen = machine.look()
                return (
                    seen
                    and machine.runners() == [seen["pid"]]
                    and seen["current"]
                    and not seen["handoff"]["underWay"]
                )

            until(
                lambda: settled() or not machine.runners(),
                what=f"one runner of the new build after {point}",
            )
            if not machine.runners():  # the new one had taken over before it came to this point
                handoffs = [
                    line["event"] for line in machine.journal() if "handoff" in line["event"]
                ]
                assert handoffs[-1] == "handoff-done", point
                machine.come_up()
                until(settled, what=f"the next runner after {point}")
            pid = machine.look()["pid"]
            machine.is_sound(pid, point)
        machine.close()

    on_both(machines, hand_over, cases)
    with capsys.disabled():
        print(f" [{len(cases)} kills]", end="")


def test_killed_at_random_each_session_is_adopted_once_and_no_end_is_missed__G7_C14_P04_C11(
    machines, capsys
):
    sessions, kills = level(10, 50), level(5, 50)
    print(f"seed {SEED}")
    adopted = []

    def die_often(machine, seeds):
        rng = random.Random(seeds[0])
        machine.come_up()
        for caller in [
            machine.begin_spawn("patient-brood" if number % 5 == 0 else "patient")
            for number in range(sessions)
        ]:
            caller.join()
        for number in range(kills):
            told = kill_at_random(machine, rng, 0.8)
            gone = rng.choice(sorted(machine.living()))
            pids = end_while_nobody_looks(machine, gone, number)
            taken = [machine.occupy(pid) for pid in pids]
            program = machine.come_up()
            machine.is_sound(program.pid, told)
            adopted.append(len(machine.by_attempt()))
            assert gone not in machine.by_attempt(), (told, taken)
            for _ in range(sessions - len(machine.by_attempt())):
                machine.begin_spawn().join()
        machine.close()

    on_both(machines, die_often, [SEED, SEED + 1])
    strangers = sum(len(machine.strangers) - 2 for machine in machines)
    with capsys.disabled():
        print(
            f" [{2 * kills} kills, {sum(adopted)} adoptions, "
            f"{strangers} strangers with a dead one's pid, seed {SEED}]",
            end="",
        )


def end_while_nobody_looks(machine, attempt, number):
    """End a session: by its own will, or with its holder, so that nobody writes down how.

    Its pids, free by now.
    """
    process = machine.folder(attempt).process
    assert process is not None
    pids = [process.child.pid, process.holder.pid]
    for pid in pids if number % 2 else pids[:1]:
        os.kill(pid, signal.SIGKILL)
    until(
        lambda: (
            attempt not in machine.living()
            or (not alive(process.holder.pid) and end_rest(machine, attempt))
        )
    )
    return pids


def end_rest(machine, attempt):
    """End what a session without a holder had started; it is found by its mark."""
    for pid in machine.living().get(attempt, ()):
        os.kill(pid, signal.SIGKILL)
    return attempt not in machine.living()


PHASES = {
    "before the lock": "before:RunnerLock.try_acquire",
    "loading": "after:RunnerLock.try_acquire",
    "lock held": "step:lock-held",
    "state written": "step:state-written",
    "adopting": "before:Adoption._take",
    "registering": "before:HubClient.register_machine",
    "linked": "after:Machine._connected",
    "spawning": "after:start_holder",
    "handing off": "after:Listeners.pause",
    "leaving": "before:StateFile.remove_if",
}
EARLY = ("before the lock", "loading")  # python itself hears of Ctrl+C
SIGNALS = (
    "SIGKILL",
    "SIGHUP",
    "SIGTERM",
    "SIGSTOP",
    "SIGINT",
)  # after one that ends it, one that it lives through


def test_each_signal_does_in_each_phase_what_it_must__G4_P01_P02_P03_P04_P05_H13(machines, capsys):
    cases = [(phase, name) for phase in PHASES for name in SIGNALS] * level(1, 20)

    def signal_in_each(machine, cases):
        machine.come_up()
        machine.begin_spawn("patient-brood").join()
        for phase, name in cases:
            before = set(machine.living())
            provoke(machine, phase, name)
            goes_on(machine, machine.program, phase, name)
            assert before <= set(machine.living()), f"{name} while {phase}"
        if not machine.runners():
            machine.come_up()
        machine.close()

    by_phase = [
        cases[number : number + len(SIGNALS)] for number in range(0, len(cases), len(SIGNALS))
    ]
    halves = [[case for group in by_phase[number::2] for case in group] for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(signal_in_each, machines, halves))
    with capsys.disabled():
        print(f" [{len(cases)} signals in {len(PHASES)} phases]", end="")


def goes_on(machine, program, phase, name):
    """Look whether it ended as it must, or goes on."""
    told = f"{name} while {phase}"
    if name == "SIGSTOP":
        until(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED, what=told)
        program.process.send_signal(signal.SIGCONT)
    stops = name in ("SIGTERM", "SIGINT")
    if name == "SIGKILL":
        assert program.exit_code(AFTER_A_KILL) == -signal.SIGKILL, told
    elif phase in EARLY and name == "SIGINT":
        assert program.exit_code(AFTER_A_KILL) == 130, told
    elif stops or phase in ("leaving", "handing off"):
        assert program.exit_code(AFTER_A_KILL) == 0, told
    if stops or (phase == "leaving" and name != "SIGKILL"):
        until(lambda: not machine.runners(), what=f"no runner after {told}")
        left = [machine.home.npm_lock, machine.home.runner_state, machine.home.runner_socket]
        for path in (
            left[: EARLY.index(phase)] if phase in EARLY else left
        ):  # what the last one left is not yet its own
            assert not path.exists(), (told, path)
    elif program.running or phase == "handing off":
        (pid,) = until(
            lambda: machine.runners() == [machine.look().get("pid")] and machine.runners(),
            what=told,
        )
        machine.is_sound(pid, told)


def provoke(machine, phase, name):
    """Bring the runner into a phase in which that signal comes to it."""
    running = machine.runners()
    if phase in ("spawning", "handing off", "leaving"):
        program = machine.program
        if not running:
            program = machine.come_up()
        elif running != [program.pid]:  # it was replaced: the next one shall be a child of ours
            os.kill(running[0], signal.SIGTERM)
            until(lambda: not machine.runners())
            program = machine.come_up()
        if phase == "handing off":
            until(
                lambda: (
                    (seen := machine.look()).get("current") and seen["hub"]["phase"] == "connected"
                )
            )
        machine.set_trap(PHASES[phase], name)
        if phase == "spawning":
            machine.begin_spawn()
        elif phase == "handing off":
            machine.install_another_build()
        else:
            program.process.send_signal(signal.SIGTERM)
    else:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: not alive(pid))
        machine.set_trap(PHASES[phase], name)
        machine.begin()
    until(machine.has_fallen, what=f"the phase {phase}")
