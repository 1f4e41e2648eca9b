"""Hubs and their database fail while sessions, runners, pages and people work with them; afterwards
it is checked that nothing was lost, doubled or done twice.

The exit status is 0 if all checks are true, 1 if one is not, 2 if the run did not come to its end.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, formatEventAsClassicLogText, globalLogBeginner

from tests.growth.balancers import HAPROXY, NGINX
from tests.growth.plan import FAULTS, Plan, unknown

STORES = ("sqlite", "postgres")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--hubs", type=int, default=1)
    parser.add_argument(
        "--active", action="store_true", help="all hubs are active; else one is, beside standbys"
    )
    parser.add_argument("--replica", action="store_true", help="a synchronous replica")
    parser.add_argument("--balancer", choices=(HAPROXY, NGINX), default=HAPROXY)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=90.0, help="while messages are written")
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--spawns", type=int, default=60)
    parser.add_argument("--faults", help=f"comma-separated, or none: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument(
        "--clocks", help="seconds by which the clock of each hub is ahead, as 40,-40,0"
    )
    parser.add_argument(
        "--stop-seconds", type=float, default=20.0, help="how long a hub stands still"
    )
    parser.add_argument(
        "--pace", type=float, default=1.0, help="multiplies the lengths of faults, and the pauses"
    )
    parser.add_argument("--drain-seconds", type=float, default=10.0)
    parser.add_argument("--short", action="store_true", help="each fault once, then the end")
    parser.add_argument("--browser", action="store_true", help="a page in Chromium as well")
    parser.add_argument("--keep", action="store_true", help="keep the directory of the run")
    given = parser.parse_args(words)
    faults = tuple(given.faults.split(",")) if given.faults else ()
    if given.faults != "none" and (wrong := unknown(faults)):
        parser.error(f"unknown faults: {', '.join(wrong)}")
    plan = Plan(
        seed=given.seed,
        hubs=given.hubs,
        postgres=given.store == "postgres",
        active=given.active,
        messages=given.messages,
        seconds=given.seconds,
        faults=faults,
        prompts=given.prompts,
        spawns=given.spawns,
        browser=given.browser,
        is_replicated=given.replica,
        balancer=given.balancer,
        clocks=tuple(map(float, given.clocks.split(","))) if given.clocks else (),
        stop_seconds=given.stop_seconds,
        pace=given.pace,
        drain_seconds=given.drain_seconds,
        is_short=given.short,
    )
    return carry_out(plan, given.keep)


def carry_out(plan: Plan, keep: bool) -> int:
    from twisted.internet import reactor

    from tests.growth.run import Run

    path = Path(tempfile.mkdtemp(prefix="hapi-growth-"))
    log = (path / "driver.log").open("w")

    def observe(event: Any) -> None:
        line = formatEventAsClassicLogText(event)
        if line is not None:
            log.write(line)
            log.flush()
        is_told = event["log_namespace"].startswith("tests.growth")
        if is_told or event["log_level"] >= LogLevel.critical:
            print(line, end="", file=sys.stderr, flush=True)

    globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False)
    print(f"seed {plan.seed}, in {path}", file=sys.stderr, flush=True)
    run = Run(reactor, plan, path)
    code = 2

    async def work() -> None:
        nonlocal code
        try:
            report = await run.carry_out()
            print(report.text(), flush=True)
            code = 0 if report.is_good else 1
        except CancelledError:
            print("interrupted", file=sys.stderr)
        except Exception:
            traceback.print_exc()
        finally:
            await run.stop()

    working: list[Deferred[None]] = []

    def begin() -> None:
        working.append(Deferred.fromCoroutine(work()))
        working[0].addBoth(lambda _: reactor.callLater(0, stop))

    def stop() -> None:
        if reactor.running:
            reactor.stop()

    reactor.callWhenRunning(begin)
    try:
        reactor.run()  # SIGINT and SIGTERM stop it
    finally:
        if working and not working[0].called:
            working[0].addErrback(lambda _: None)
        run.end()
        log.close()
        if code == 0 and not keep:
            shutil.rmtree(path, ignore_errors=True)
        else:
            print(f"logs are in {path}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
