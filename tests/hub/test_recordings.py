"""The requests and frames recorded at the real hub, played again to ours: same statuses, same
bodies, same answers.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.hub_stage import TOKEN, MemoryPeer, Stage, waits
from tests.support.paths import FIXTURES

RECORDED_EPOCH = 1_795_000_000_000
TIME = re.compile(r"^17[0-9]{11}$")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NAMESPACE = "team-a"

# Where ours is meant to answer otherwise; (recording, request) -> why.
OTHERWISE = {
    ("hub-auth", "GET /health"): "the work graph is not served",
    ("hub-auth", "GET /api/sessions"): "the list of another database",
    ("hub-auth", "GET /api/no-such-route"): "errors are JSON, with the id of the request",
    ("hub-permission", "GET /api/sessions"): "the list of another database",
    (
        "hub-reopen",
        "POST /cli/sessions",
    ): "one bad key of the metadata hides that key, not all of it",
    ("hub-reopen", "POST /api/sessions/1ad1813b"): "so that the path is known",
    ("hub-sse", "POST /api/visibility"): "the stream that it names is not played",
    (
        "hub-archive",
        "POST /api/sessions/6ce75ca5",
    ): "a process that hangs is named after 5 s (503), not called an error of the hub after 30 s",
}

# Texts that ours words otherwise. Pages only show them, and ours says what may be wrong.
REWORDED = {
    "operation has timed out": "The operation has timed out: no answer within 30 s. The process "
    "that is to answer may be stopped or overloaded.",
}

# The recorded hub gave the number of a cancelled prompt to the next message; ours never gives a
# number twice, since a process that asks for what came after it would miss the message.
REUSES_NUMBERS = {"hub-cancel", "hub-messages"}
NUMBERS = {"seq", "nextBeforeSeq", "nextAfterSeq", "snapshotHeadSeq"}

# A socket that drops leaves no frame: (recording, ms) -> whose it is.
DROPS = {("hub-archive", 639): "session-b"}


class Replay:
    """Plays one recording; ids of the recording are translated into ours as they become known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = [
            json.loads(line) for line in (FIXTURES / f"{name}.jsonl").read_text().splitlines()
        ]
        self.lines.sort(
            key=lambda line: (line["t_ms"], "request" not in line)
        )  # asked before it is heard of
        first = next(
            int(found)
            for line in self.lines
            for found in re.findall(r"\b17951\d{8}\b", json.dumps(line))
        )
        self.stage = Stage(start=first - self.lines[0]["t_ms"])
        self.ids: dict[str, str] = {}
        self.times: dict[str, str] = {}
        self.peers: dict[str, MemoryPeer] = {}
        self.acks: dict[tuple[str, int], Any] = {}
        self.problems: list[str] = []
        self.compared = 0

    # --- translating
    def ours(self, value: Any) -> Any:
        text = json.dumps(value)
        return json.loads(re.sub(UUID, lambda found: self.ids.get(found[0], found[0]), text))

    def learn(self, theirs: Any, ours: Any) -> None:
        """Where both have an id at the same place, they name the same thing."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for key in theirs.keys() & ours.keys():
                self.learn(theirs[key], ours[key])
        elif isinstance(theirs, list) and isinstance(ours, list):
            for one, other in zip(theirs, ours, strict=False):
                self.learn(one, other)
        elif (
            isinstance(theirs, str)
            and isinstance(ours, str)
            and UUID.fullmatch(theirs)
            and UUID.fullmatch(ours)
        ):
            self.ids.setdefault(theirs, ours)
        elif isinstance(theirs, int) and isinstance(ours, int) and TIME.match(str(theirs)):
            self.times.setdefault(str(theirs), str(ours))

    def plain(self, value: Any) -> Any:
        """Without what differs from run to run: times, versions of time, texts around ids."""
        if isinstance(value, dict):
            found = {
                key: self.plain(item)
                for key, item in value.items()
                if key not in ("nextAfterAt", "nextBeforeAt")
                and not (self.name in REUSES_NUMBERS and key in NUMBERS)
            }
            if "thinkingAt" in found:
                found.pop("seq", None)  # counts the hub's own writes, for information
            if found.get("agentState") == {
                "requests": {},
                "completedRequests": {},
            }:  # ours merges nothing into nothing
                found |= {"agentState": {}, "agentStateVersion": 1}
            return found
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        if isinstance(value, int) and not isinstance(value, bool) and TIME.match(str(value)):
            return "<time>"
        return REWORDED.get(value, value) if isinstance(value, str) else value

    def compare(self, what: str, theirs: Any, ours: Any) -> None:
        self.compared += 1
        expected, found = self.plain(self.ours(theirs)), self.plain(ours)
        if isinstance(expected, dict) and isinstance(found, dict) and "error" in expected:
            # Ours names the field of every malformed body, npm's only that of some.
            found = {key: found[key] for key in found if key != "issues" or key in expected}
        if expected != found:
            self.problems.append(
                f"{what}\n  theirs {json.dumps(expected)}\n  ours   {json.dumps(found)}"
            )

    # --- playing
    def run(self) -> None:
        pending: list[tuple[dict[str, Any], Any]] = []
        for line in self.lines:
            ahead = line["t_ms"] / 1000 - self.stage.clock.seconds()
            if ahead > 0:
                self.stage.tick(ahead)
            if (self.name, line["t_ms"]) in DROPS:
                self.peers[DROPS[self.name, line["t_ms"]]].drop()
            pending = [
                (asked, answer) for asked, answer in pending if not self.settle(asked, answer)
            ]
            if "request" in line:
                for session in self.stage.registry.sessions.values():
                    session.registers_until = 0.0  # ours waits for methods of one that starts
                answer = self.request(line)
                if answer is not None and not self.settle(line, answer):
                    pending.append((line, answer))
            elif line.get("dir") == "c2s":
                self.frame(line["conn"], line["frame"])
            elif line.get("dir") == "s2c" and line["conn"] in self.peers:
                self.heard(line["conn"], line["frame"])
        self.stage.tick(31.0)
        for asked, answer in pending:
            assert self.settle(asked, answer), asked["request"]

    def request(self, line: dict[str, Any]) -> Any:
        request = line["request"]
        if line["response"]["body"] == "<stream: see frames with the same conn>":
            return None
        headers = dict(request["headers"])
        given = headers.get("Authorization", "")
        path = re.sub(
            r"(?<=At=)\d+",
            lambda found: self.times.get(found[0], found[0]),
            self.ours(request["path"]),
        )
        if self.name in REUSES_NUMBERS:  # one prompt was cancelled before
            path = re.sub(r"(?<=Seq=)[1-9]\d*", lambda found: str(int(found[0]) + 1), path)
        if "<JWT>" in given:
            namespace = self.namespace_of(path, line)
            headers["Authorization"] = f"Bearer {self.stage.jwt(namespace)}"
        elif "<TOKEN>" in given:
            headers["Authorization"] = given.replace("<TOKEN>", TOKEN)
        body = json.loads(json.dumps(self.ours(request["body"])).replace("<TOKEN>", TOKEN))
        return self.stage.begin(request["method"], path, body, None, headers)

    def namespace_of(self, path: str, line: dict[str, Any]) -> str:
        """Recordings don't say whose JWT it was; an answer that denies access was to somebody
        else's.
        """
        body = line["response"]["body"]
        return (
            "stranger"
            if isinstance(body, dict) and "denied" in str(body.get("error"))
            else NAMESPACE
        )

    def settle(self, line: dict[str, Any], pending: Any) -> bool:
        self.stage.stub.flush()
        if waits(pending):
            return False
        answer = self.stage.finish(pending)
        request, response = line["request"], line["response"]
        what = f"{request['method']} {request['path']}"
        theirs = response["body"]
        self.learn(theirs, answer.body)
        if any(self.name == name and what.startswith(start) for name, start in OTHERWISE):
            return True
        if "token" in (theirs if isinstance(theirs, dict) else {}):
            assert set(theirs) == set(answer.body) - {"access"}  # ours alone: what it allows
            return True
        self.compare(f"{what}: status", response["status"], answer.status)
        if response["status"] >= 500 and theirs == "Internal Server Error":
            return True  # ours says why
        self.compare(what, theirs, answer.body)
        return True

    def frame(self, name: str, frame: str) -> None:
        found = re.fullmatch(r"4([0134]|2)/cli,(\d*)(.*)", frame, re.DOTALL)
        if found is None:
            return
        kind, number, rest = found.groups()
        given = self.ours(json.loads(rest)) if rest else None
        if kind == "0":
            token = str(given.get("token", "")).replace("<TOKEN>", TOKEN)
            if token == "wrong":
                assert self.stage.refused(token=token) == "Invalid token"
                return
            namespace = token.rpartition(":")[2] if ":" in token else "default"
            auth = {key: value for key, value in given.items() if key != "token"}
            self.peers[name] = self.stage.connect(namespace, **auth)
        elif kind == "1":
            self.peers[name].drop()
        elif kind == "2":
            event, *args = given
            if number:
                self.acks[name, int(number)] = self.peers[name].ask(event, *args)
            else:
                self.peers[name].send(event, *args)
        elif kind == "3" and self.peers[name].calls:
            self.peers[name].answer(given[0])

    def heard(self, name: str, frame: str) -> None:
        """What the real hub sent here ours must have sent, too: the answers exactly, the updates
        somewhere.
        """
        found = re.fullmatch(r"4([23])/cli,(\d*)(.*)", frame, re.DOTALL)
        if found is None:
            return
        kind, number, rest = found.groups()
        given = json.loads(rest)
        if kind == "3":
            theirs = given[0] if given else ()
            self.compare(
                f"{name}: answer {number}",
                list(theirs) or None if theirs == () else theirs,
                self.acks[name, int(number)] or None,
            )
            return
        event, body = given
        if event == "update":
            candidates = self.peers[name].events("update")
            inner = body["body"].get("message") or {}
            for one in candidates:
                other = one["body"].get("message") or {}
                if inner.get("content") == other.get("content") and inner.get(
                    "localId"
                ) == other.get("localId"):
                    self.learn(inner, other)
            wanted = [self.plain(self.ours(body["body"]))]
            assert self.plain(self.ours(body["body"])) in [
                self.plain(one["body"]) for one in candidates
            ], (
                name,
                wanted,
                candidates,
            )
            self.compared += 1
        elif event == "rpc-request":
            asked = [
                (one["method"], json.loads(one["params"]))
                for one in self.peers[name].events("rpc-request")
            ]
            theirs = self.ours(body)
            assert (theirs["method"], json.loads(theirs["params"])) in asked, (theirs, asked)
            self.compared += 1
        elif event == "error":
            assert self.ours(body) in self.peers[name].events("error")
            self.compared += 1


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("hub-auth", 12),
        ("hub-sessions-rest", 50),
        ("hub-session-socket", 20),
        ("hub-messages", 50),
        ("hub-cancel", 50),
        ("hub-permission", 20),
        ("hub-archive", 25),
        ("hub-reopen", 25),
        ("hub-rpc", 25),
        ("hub-sse", 10),
    ],
)
def test_our_hub_answers_as_the_real_one_did(name: str, least: int) -> None:
    replay = Replay(name)
    replay.run()
    assert not replay.problems, "\n".join(replay.problems)
    assert replay.compared >= least, replay.compared
