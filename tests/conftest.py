"""What every test gets: the reactor, a throw-away home, and guards against errors nobody looked at
and timers left behind."""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from hapi.home import Home
from tests.support.interrupts import accept_interrupts
from tests.support.postgres import postgres_programs
from tests.support.programs import CANARY, Stage

HERE = Path(__file__).parent
StageKind = TypeVar("StageKind", bound=Stage)
PEERS = Path(os.environ.get("HAPI_PEERS") or HERE.parent / ".cache/peers/node_modules").absolute()
PAGE_TOOLS = Path(
    os.environ.get("HAPI_PAGE_TOOLS") or HERE.parent / ".cache/page-tools/node_modules"
).absolute()

pytest_plugins = ["pytester", "tests.support.postgres_fixtures"]
accept_interrupts()

# What a developer has set for daily use must not reach a test, nor a program that a test starts.
LEAKS = (
    "HAPI_",
    "CLI_API_TOKEN",
    "ANTHROPIC_",
    "CLAUDE_",
    "OPENCODE",
    "XDG_CONFIG",
    "NOTIFY_SOCKET",
    "LISTEN_",
    "INVOCATION_ID",
)
FOR_TESTS = {
    "HAPI_AGENTS",
    "HAPI_FAULTS",
    "HAPI_REAL_AGENTS",
    "HAPI_SEED",
    "HAPI_WRITE_TABLES",
}  # how much the tests do; no program of ours reads them
for name in [name for name in os.environ if name.startswith(LEAKS) and name not in FOR_TESTS]:
    del os.environ[name]
os.environ["HAPI_PEERS"] = str(PEERS)
os.environ["HAPI_PAGE_TOOLS"] = str(PAGE_TOOLS)


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "leaves_failures(reason): the test ends with failures in the log, and why that is right",
        "leaves_timers(reason): the test ends with delayed calls pending, and why that is right",
    ):
        config.addinivalue_line("markers", line)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what the imports made lives on: the collections after each test need not walk it


# --- programs that are not ours -------------------------------------------------------------------

WHERE: dict[str, list[Path | str]] = {  # a path, or a program to be found on PATH
    "hapi": [PEERS / ".bin/hapi"],
    "opencode": [PEERS / ".bin/opencode"],
    "claude": [PEERS / ".bin/claude", PEERS / ".bin/claude-agent-acp"],
    "socket.io": [PEERS / "socket.io", PEERS / "socket.io-client", "node"],
    "chromium": ["chromium"],
    "axe-core": [PAGE_TOOLS / "axe-core/axe.min.js"],
    "node": ["node"],
    "strace": ["strace"],
    "zsh": ["zsh"],
    "fish": ["fish"],
    "curl": ["curl"],
    "tmux": ["tmux"],
    "systemd": ["systemd-analyze"],
    "nginx": ["nginx"],
    "caddy": ["caddy"],
    "promtool": ["promtool"],
    "haproxy": ["haproxy"],
    "postgresql": [postgres_programs() or "initdb"],
}


def present(where: Path | str) -> bool:
    return where.exists() if isinstance(where, Path) else shutil.which(where) is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`peer("hapi", "chromium")`: on a machine without them the test is skipped with the way to get
    them; in CI it fails."""
    for mark in item.iter_markers("peer"):
        missing = [name for name in mark.args if not all(present(where) for where in WHERE[name])]
        if missing:
            found = ", ".join(missing)
            reason = f"not on this machine: {found} (`make peers page-tools` installs npm's)"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


# --- guards ---------------------------------------------------------------------------------------


@define
class LoggedFailures:
    """Collects the failures that reach the log: unhandled Deferreds, exceptions in protocol
    callbacks, `log.failure`."""

    _seen: list[Failure] = field(factory=list)

    def __call__(self, event: dict[str, object]) -> None:
        failure = event.get("log_failure") or event.get("failure")
        if isinstance(failure, Failure):
            self._seen.append(failure)

    def take(self, kind: type[BaseException]) -> list[BaseException]:
        """Hand over the failures of `kind`: the test answers for them."""
        taken = [failure for failure in self._seen if isinstance(failure.value, kind)]
        self._seen = [failure for failure in self._seen if failure not in taken]
        return [failure.value for failure in taken]

    def tell(self) -> str:
        return "\n".join(failure.getTraceback(detail="brief") for failure in self._seen)


@pytest.fixture
def reactor():
    from twisted.internet import reactor as the_reactor

    return the_reactor


@pytest.fixture(autouse=True)
def logged_failures(request: pytest.FixtureRequest) -> Iterator[LoggedFailures]:
    """No test ends with a failure in the log that it has not taken:
    `logged_failures.take(ValueError)`."""
    failures = LoggedFailures()
    globalLogPublisher.addObserver(failures)
    try:
        yield failures
        gc.collect()  # an unhandled Deferred speaks when it is collected
    finally:
        globalLogPublisher.removeObserver(failures)
    if request.node.get_closest_marker("leaves_failures") is None:
        told = failures.tell()
        assert not failures.take(BaseException), f"failures in the log:\n{told}"


@pytest.fixture(autouse=True)
def leftover_timers(request: pytest.FixtureRequest, reactor) -> Iterator[None]:
    """No test leaves delayed calls behind.

    What is due at once may still run: a connection closing, a process reaped.
    """
    before = set(reactor.getDelayedCalls())
    yield
    if request.node.get_closest_marker("leaves_timers") is not None:
        return
    deadline = time.monotonic() + 1.0
    while left := [call for call in reactor.getDelayedCalls() if call not in before]:
        soon = all(call.getTime() - reactor.seconds() < 1.0 for call in left)
        if not soon or time.monotonic() > deadline:
            for call in left:
                call.cancel()  # the next test starts clean
            pytest.fail("delayed calls left behind:\n" + "\n".join(str(call) for call in left))
        pytest_twisted.blockon(deferLater(reactor, 0.005))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A HAPI home that nobody used before; HAPI_HOME names it and no other HAPI variable is set."""
    for name in [
        name
        for name in os.environ
        if name.startswith(LEAKS) and name not in {*FOR_TESTS, "HAPI_PEERS", "HAPI_PAGE_TOOLS"}
    ]:
        monkeypatch.delenv(name)
    made = Home((tmp_path / "home").resolve()).prepare()
    monkeypatch.setenv("HAPI_HOME", str(made.path))
    return made


# --- real processes -------------------------------------------------------------------------------

REPORT = pytest.StashKey[dict[str, pytest.TestReport]]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    item.stash.setdefault(REPORT, {})[report.when] = report


@pytest.fixture
def on_stage(request: pytest.FixtureRequest) -> Iterator[Callable[[StageKind], StageKind]]:
    """Lets the test use a stage.

    Ends all that ran there; shows what it said if the test failed; K01: no token in argv.
    """
    stages: list[Stage] = []

    def use(stage: StageKind) -> StageKind:
        stages.append(stage)
        return stage

    yield use
    bare = [line for stage in stages for line in stage.command_lines() if CANARY in line]
    failed = bool(bare) or any(
        report.failed for report in request.node.stash.get(REPORT, {}).values()
    )
    for stage in stages:
        stage.end()
        found_canaries.update(str(path) for path in files_holding(CANARY.encode(), stage.path))
        for name, said in stage.tell() if failed else ():
            print(f"--- {name}\n{said}")
        for path in stage.path.glob("npm-*/runtime") if failed else (stage.path,):
            shutil.rmtree(path, ignore_errors=True)  # an npm program unpacks 170 MB into its home
    assert not bare, f"the token stands in a command line: {bare}"


@pytest.fixture
def stage(on_stage: Callable[[Stage], Stage], tmp_path: Path) -> Stage:
    """Starts programs of ours; see tests/support/programs.py."""
    return on_stage(Stage(tmp_path / "stage"))


# --- K02: the token is nowhere but where it belongs -----------------------------------------------

# Where the token is kept, private to its owner; `hub.json` for as long as a session needs it.
MAY_HOLD_IT = {"settings.json", "hub.json"}
NOT_OURS = "npm-"  # directories that begin so are written by other people's programs
# what `hapi up` prints for the person who started it: the address to open holds the token
FOR_PEOPLE = ".printed"
found_canaries: set[str] = set()


class CanaryWatch:
    """Looks at every line our code logs while the suite runs."""

    def __call__(self, event: dict[str, object]) -> None:
        if CANARY in (formatEvent(event) or ""):
            found_canaries.add(f"a log event of {event.get('log_namespace')}")


@pytest.fixture(scope="session")
def canary() -> str:
    """An access token for tests.

    The suite fails when it shows up in any file our programs wrote, or in the log.
    """
    return CANARY


@pytest.fixture(autouse=True, scope="session")
def canary_watch() -> Iterator[None]:
    watch = CanaryWatch()
    globalLogPublisher.addObserver(watch)
    yield
    globalLogPublisher.removeObserver(watch)


def files_holding(needle: bytes, below: Path) -> list[Path]:
    """Files of our programs below `below` that hold `needle`, beside those that may."""
    found = []
    for directory, names, files in os.walk(below):
        names[:] = [name for name in names if not name.startswith(NOT_OURS)]
        for name in files:
            path = Path(directory, name)
            if (
                name in MAY_HOLD_IT
                or name.endswith(FOR_PEOPLE)
                or path.is_symlink()
                or not path.is_file()
            ):
                continue
            if needle in path.read_bytes():
                found.append(path)
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None and factory._basetemp is not None:
        found_canaries.update(
            str(path) for path in files_holding(CANARY.encode(), factory._basetemp)
        )
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["canaries"] = sorted(found_canaries)
    elif found_canaries:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes that share the suite (`-n`) is through: what it found counts for
    all."""
    found_canaries.update(getattr(node, "workeroutput", {}).get("canaries", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if found_canaries:
        terminalreporter.section("K02: the access token was written where it must not be", red=True)
        for place in sorted(found_canaries):
            terminalreporter.line(place)
