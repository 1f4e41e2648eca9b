"""Which ends of sessions the hub is told, and which not. Hub and processes are in memory."""

import pytest
from attrs import define, field
from twisted.internet.defer import fail, succeed

from hapi.home import write_atomically
from hapi.net.client.hub_clock import HubClock
from hapi.net.common.errors import HubRefused, HubUnreachable, LinkLost
from hapi.process import Exit
from hapi.process.in_memory import FakeProgram
from hapi.protocol.attempt import StopOrder
from hapi.protocol.session import BY_SIGNAL
from hapi.runner.attempts.registry import SessionEnded
from hapi.runner.uplink.end_reports import Archive, EndReport, EndReports, SendEnd, Skip, decide
from tests.support.runner_stage import Stage, result_of


@define(eq=False)
class Hub:
    """One row; the hub itself and the link to it."""

    metadata: dict
    version: int = 3
    active: bool = True
    connected: bool = True
    trouble: Exception | None = None
    before_write: list = field(
        factory=list
    )  # what others do to the row, one for each write of ours
    ended: list = field(factory=list)
    asked: int = 0

    @property
    def link(self):
        return self

    @property
    def client(self):
        return self

    rows: list = field(factory=lambda: ["s1"])  # the ids in the list
    stored: list = field(factory=list)  # its messages
    deleted: list = field(factory=list)
    hub_clock: HubClock = field(factory=HubClock)
    keeps_active: bool = False  # it takes its time over `session-end`
    searches: int = 0

    async def session(self, session_id):
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        if session_id in self.deleted:
            raise HubRefused(404, "Session not found")
        return {
            "metadata": dict(self.metadata),
            "metadataVersion": self.version,
            "active": self.active,
            "hasConversationContent": bool(self.stored),
        }

    async def recent_sessions(self, limit):
        self.searches += 1
        if self.trouble is not None:
            raise self.trouble
        machine = {"machineId": self.metadata.get("machineId")}
        rows = [name for name in self.rows if name not in self.deleted]
        return [{"id": name, "metadata": machine} for name in rows]

    async def messages(self, session_id, after_seq, limit=200):
        return self.stored[:limit]

    async def delete_session(self, session_id):
        if self.active:
            raise HubRefused(409, "Cannot delete active session. Archive it first.")
        self.deleted.append(session_id)

    def call(self, event, message, timeout=10.0):
        assert event == "update-metadata"
        if self.before_write:
            self.before_write.pop(0)()
        if not self.connected:
            return fail(LinkLost("cut"))
        if message["expectedVersion"] != self.version:
            return succeed(
                {
                    "result": "version-mismatch",
                    "version": self.version,
                    "metadata": dict(self.metadata),
                }
            )
        self.metadata, self.version = message["metadata"], self.version + 1
        return succeed({"result": "success", "version": self.version, "metadata": self.metadata})

    def emit(self, event, message, keep=True):
        assert (event, keep) == (
            "session-end",
            False,
        )  # never kept for a later connection: it may live again by then
        self.ended.append(message["reason"])
        self.active = self.keeps_active

    def change(self, **changes):
        self.metadata, self.version = {**self.metadata, **changes}, self.version + 1


@define(eq=False)
class Scene:
    stage: Stage
    hub: Hub | None = None
    starting: set = field(factory=set)
    end_reports: EndReports = field(init=False)

    def __attrs_post_init__(self):
        self.restart()

    def restart(self):
        self.end_reports = EndReports(
            self.stage.clock,
            self.stage.processes,
            self.stage.children,
            lambda: "machine-1",
            lambda: self.hub,
            self.starting.__contains__,
            self.stage.clock.seconds,  # the ends of processes in memory are at 0.0
        )
        self.stage.children.subscribe(
            SessionEnded, lambda event: self.end_reports.ended(event.child)
        )

    def session(self, **changes):
        child = self.stage.started("s1")
        metadata = {
            "hostPid": child.host.pid,
            "machineId": "machine-1",
            "lifecycleState": "running",
            "name": "n",
            **changes,
        }
        self.hub = Hub(metadata)
        return child

    def die(self, child, how=Exit(None, "SIGKILL")):
        self.stage.processes.exit(child.identity, how.exit_code, how.signal)
        self.stage.clock.advance(2)


@pytest.fixture
def scene(home):
    return Scene(Stage(home))


def test_a_killed_session_is_shown_as_ended_at_once_and_why__R08(scene):
    scene.die(scene.session())
    assert scene.hub.metadata["lifecycleState"] == "archived"
    assert scene.hub.metadata["archivedBy"] == "runner"
    assert scene.hub.metadata["archiveReason"] == "Session crashed (SIGKILL)"
    assert scene.hub.metadata["name"] == "n"
    assert (scene.hub.ended, scene.hub.active) == (["error"], False)


@pytest.mark.parametrize(
    ("how", "order", "archived", "reason"),
    [
        (Exit(None, "SIGSEGV"), None, "Session crashed (SIGSEGV)", "error"),
        (Exit(7, None), None, "Session crashed (exit code 7)", "error"),
        (Exit(0, None), None, "Session completed", "completed"),
        (Exit(None, None), None, "Session ended (exit status unknown)", "error"),
        (Exit(None, "SIGKILL"), "Stopped by runner", "Stopped by runner", "terminated"),
        (Exit(None, "SIGKILL"), "Start timed out", "Start timed out", "terminated"),
    ],
)
def test_every_end_reads_differently_at_the_hub__C19_R08(how, order, archived, reason):
    stop = None if order is None else StopOrder(order, "runner", "lease", 1.0)
    death = EndReport("s1", frozenset({7}), "machine-1", how, stop, 5)
    verdict = decide({"hostPid": 7}, True, death)
    assert verdict == Archive(
        {
            "hostPid": 7,
            "lifecycleState": "archived",
            "lifecycleStateSince": 5,
            "archivedBy": "runner",
            "archiveReason": archived,
        }
    )
    assert death.end_reason == reason


DEATH = EndReport("s1", frozenset({7, 8}), "machine-1", Exit(None, "SIGKILL"), None, 5)


@pytest.mark.parametrize(
    ("metadata", "active", "verdict"),
    [
        ({"hostPid": 9}, True, Skip),
        ({"hostPid": 8}, True, Archive),
        ({}, True, Skip),
        (None, True, Skip),
        ("garbage", True, Skip),
        ({"hostPid": "7"}, True, Skip),
        ({"hostPid": 7, "machineId": "another"}, True, Skip),
        ({"hostPid": 7, "lifecycleState": "archived"}, False, Skip),
        ({"hostPid": 7, "lifecycleState": "archived"}, True, SendEnd),
    ],
)
def test_only_a_row_of_the_process_that_died_is_touched__R08(metadata, active, verdict):
    assert isinstance(decide(metadata, active, DEATH), verdict)


def test_who_said_farewell_is_left_alone(scene):
    child = scene.session(lifecycleState="archived", archiveReason="User terminated")
    scene.hub.active = False
    scene.die(child, Exit(0, None))
    assert (scene.hub.ended, scene.hub.metadata["archiveReason"]) == ([], "User terminated")


@pytest.mark.parametrize(
    ("is_full", "reason"), [(True, "no longer needed"), (False, BY_SIGNAL.archive_reason)]
)
def test_who_could_not_read_the_order_for_a_full_disk_is_corrected__S02_C19(
    scene, monkeypatch, is_full, reason
):
    child = scene.session(
        lifecycleState="archived", archiveReason=BY_SIGNAL.archive_reason, archivedBy="cli"
    )
    scene.hub.active = False

    def write(path, content, **how):
        if is_full and path.name == "stop.json":
            raise OSError(28, "No space left on device")
        write_atomically(path, content, **how)

    monkeypatch.setattr("hapi.attempts.write_atomically", write)
    result_of(scene.stage.stop("s1", "no longer needed"))
    assert child.exit is not None
    assert scene.hub.metadata["archiveReason"] == reason


def test_a_session_that_goes_on_elsewhere_is_not_ended__C11(scene):
    child = scene.session()
    scene.hub.before_write.append(
        lambda: scene.hub.change(hostPid=999_999)
    )  # between our look and our write
    scene.die(child)
    assert scene.hub.metadata["lifecycleState"] == "running"
    assert (scene.hub.ended, scene.hub.active) == ([], True)


def test_a_rename_meanwhile_is_kept__R07(scene):
    child = scene.session()
    scene.hub.before_write.append(lambda: scene.hub.change(name="better"))
    scene.die(child)
    assert (scene.hub.metadata["name"], scene.hub.metadata["lifecycleState"]) == (
        "better",
        "archived",
    )
    assert scene.hub.ended == ["error"]


def test_a_session_that_is_started_again_here_is_not_ended__C16(scene):
    child = scene.session()
    scene.starting.add("s1")
    scene.die(child)
    assert (scene.hub.ended, scene.hub.metadata["lifecycleState"]) == ([], "running")


def test_an_end_waits_for_the_hub__N02(scene):
    child = scene.session()
    scene.hub.connected = False
    scene.die(child)
    assert scene.hub.asked == 0
    scene.hub.connected, scene.hub.trouble = True, HubUnreachable("not yet")
    scene.end_reports.send_pending()
    assert scene.hub.ended == []
    scene.hub.trouble = None
    scene.end_reports.send_pending()
    assert scene.hub.ended == ["error"]
    scene.end_reports.send_pending()
    assert scene.hub.asked == 2


def test_a_link_that_is_cut_in_the_middle_loses_no_end__N08(scene):
    child = scene.session()
    scene.hub.before_write.append(lambda: setattr(scene.hub, "connected", False))
    scene.die(child)
    assert scene.hub.ended == []
    scene.hub.connected = True
    scene.end_reports.send_pending()
    assert scene.hub.ended == ["error"]


def test_a_row_that_the_hub_does_not_have_is_forgotten(scene):
    child = scene.session()
    scene.hub.trouble = HubRefused(404, "not found")
    scene.die(child)
    scene.hub.trouble = None
    scene.end_reports.send_pending()
    assert (scene.hub.asked, scene.hub.ended) == (1, [])


def test_who_was_killed_while_no_runner_ran_is_told_by_the_next_one_once__P04(scene):
    child = scene.session()
    hub, scene.hub = scene.hub, None
    scene.die(child)
    scene.hub = hub
    for asked in (1, 1):
        scene.stage.restart()
        scene.restart()
        scene.stage.adopt()
        assert (scene.hub.asked, scene.hub.ended) == (asked, ["error"])


def test_what_a_reboot_interrupted_is_not_archived__V06(scene):
    scene.session()
    scene.stage.restart()
    scene.restart()
    scene.stage.processes.boot = "another boot"
    scene.stage.adopt()
    assert (scene.hub.asked, scene.hub.metadata["lifecycleState"]) == (0, "running")


def test_one_that_spoke_for_the_session_and_still_runs_keeps_it(scene):
    child = scene.session()
    child.host = scene.stage.processes.add("session")
    scene.hub.change(hostPid=child.host.pid)
    scene.die(child)
    assert (scene.hub.ended, scene.hub.metadata["lifecycleState"]) == ([], "running")


def test_a_hub_that_never_stops_disagreeing_is_left_after_some_tries__N07(scene):
    child = scene.session()
    scene.hub.before_write += [scene.hub.change] * 20
    scene.die(child)
    assert scene.hub.ended == []
    assert len(scene.hub.before_write) == 15


def test_an_end_of_last_week_is_no_news(scene):
    child = scene.session()
    hub, scene.hub = scene.hub, None
    scene.die(child)
    scene.hub = hub
    scene.stage.clock.advance(7 * 86400.0)
    scene.stage.restart()
    scene.restart()
    scene.stage.adopt()
    assert (scene.hub.asked, scene.hub.ended) == (0, [])


def test_one_that_spoke_to_the_hub_and_never_to_us_is_told_of_too__C17_R08(home):
    scene = Scene(Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)}))
    answer = scene.stage.spawn(existingSessionId="s1")
    scene.hub = Hub(
        {"hostPid": scene.stage.pid, "machineId": "machine-1", "lifecycleState": "running"}
    )
    scene.stage.pass_time(20)
    assert result_of(answer).message.startswith("Session webhook timeout")
    assert (scene.hub.metadata["archiveReason"], scene.hub.ended) == (
        "Start timed out",
        ["terminated"],
    )


def test_a_hub_that_does_not_know_our_token_just_now_is_asked_again__N06(scene):
    child = scene.session()
    scene.hub.trouble = HubRefused(401, "Invalid token")
    scene.die(child)
    assert scene.hub.ended == []
    scene.hub.trouble = None
    scene.end_reports.send_pending()
    assert scene.hub.ended == ["error"]


# --- rows that failed starts leave behind


def failed_start(home, **changes):
    """A start that the hub has a row of, and the runner no announcement."""
    scene = Scene(Stage(home, programs={"session": FakeProgram(ignores_sigterm=True)}))
    answer = scene.stage.spawn()
    metadata = {
        "hostPid": scene.stage.pid,
        "machineId": "machine-1",
        "lifecycleState": "running",
        "lifecycleStateSince": int(scene.stage.now() * 1000),
        "startedBy": "runner",
        "path": scene.stage.folder.request.cwd,
    }
    scene.hub = Hub({**metadata, **changes})
    return scene, answer


def only_child(scene):
    (child,) = scene.stage.children
    return child


def test_the_empty_row_of_a_start_that_timed_out_is_ended_and_removed(home):
    scene, answer = failed_start(home)
    scene.stage.pass_time(20)
    assert result_of(answer).message.startswith("Session webhook timeout")
    assert scene.hub.metadata["archiveReason"] == "Start timed out"
    assert (scene.hub.ended, scene.hub.deleted) == (["terminated"], ["s1"])


def test_the_row_of_a_start_that_crashed_before_its_announcement_is_removed(home):
    scene, answer = failed_start(home)
    scene.stage.processes.exit(only_child(scene).identity, None, "SIGKILL")
    scene.stage.pass_time(2)
    assert "signal SIGKILL" in result_of(answer).message
    assert scene.hub.metadata["archiveReason"] == "Session crashed (SIGKILL)"
    assert scene.hub.deleted == ["s1"]


def test_a_row_with_a_message_is_ended_and_kept(home):
    scene, _ = failed_start(home)
    scene.hub.stored.append({"seq": 1})
    scene.stage.pass_time(20)
    assert scene.hub.metadata["archiveReason"] == "Start timed out"
    assert (scene.hub.ended, scene.hub.deleted) == (["terminated"], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"machineId": "another"},
        {"hostPid": "7"},
        {"hostPid": None},
        {"lifecycleStateSince": -1_000_000},
        {"lifecycleStateSince": "now"},
        {"hostPid": 999_999, "path": "/elsewhere"},
        {"hostPid": 999_999, "startedBy": "terminal"},
    ],
    ids=repr,
)
def test_a_row_of_another_start_is_left_alone(home, changes):
    scene, _ = failed_start(home, **changes)
    scene.stage.pass_time(30)
    assert (scene.hub.ended, scene.hub.deleted) == ([], [])
    assert scene.hub.metadata["lifecycleState"] == "running"


def test_a_row_of_a_program_that_started_the_session_is_known_by_directory_and_time(home):
    scene, _ = failed_start(home, hostPid=999_999)  # no such process is left
    scene.stage.pass_time(20)
    assert scene.hub.deleted == ["s1"]


def test_a_hub_that_is_away_when_a_start_fails_is_told_later(home):
    scene, _ = failed_start(home)
    scene.hub.connected = False
    scene.stage.pass_time(20)
    assert scene.hub.searches == 0
    scene.hub.connected, scene.hub.trouble = True, HubUnreachable("not yet")
    scene.end_reports.send_pending()
    scene.hub.trouble = None
    scene.end_reports.send_pending()
    assert scene.hub.deleted == ["s1"]


def test_a_row_that_was_on_its_way_to_the_hub_is_found_a_moment_later(home):
    scene, _ = failed_start(home)
    scene.hub.rows = []
    scene.stage.pass_time(17.5)
    assert scene.hub.searches == 1
    scene.hub.rows = ["s1"]
    scene.stage.pass_time(3)
    assert scene.hub.deleted == ["s1"]
    scene.stage.pass_time(30)
    assert scene.hub.searches == 2


def test_a_hub_that_takes_its_time_over_the_end_is_waited_for(home):
    scene, _ = failed_start(home)
    scene.hub.keeps_active = True
    scene.stage.pass_time(17.5)
    assert scene.hub.deleted == []
    scene.hub.active = False
    scene.stage.pass_time(1)
    assert scene.hub.deleted == ["s1"]


def test_the_next_runner_removes_the_row_of_a_start_that_ended_without_one(home):
    scene, _ = failed_start(home)
    hub, scene.hub = scene.hub, None
    scene.stage.processes.exit(only_child(scene).identity, None, "SIGKILL")
    scene.stage.pass_time(2)
    scene.hub = hub
    scene.stage.restart()
    scene.restart()
    scene.stage.adopt()
    assert scene.hub.deleted == ["s1"]


def test_an_announced_session_that_ends_without_a_message_keeps_its_row(scene):
    scene.die(scene.session())
    assert (scene.hub.ended, scene.hub.deleted, scene.hub.searches) == (["error"], [], 0)
