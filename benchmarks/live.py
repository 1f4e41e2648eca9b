"""Measures live text: how long it takes from the agent's chunk to the page that shows it, with
the programs of both makes, and what streaming costs our hub. Prints figures and limits, writes
JSON.

    python -m benchmarks live [--rounds N] [--short] [--only SUBJECT …] [--make ours|npm]
        [--json FILE] [--markdown]

Subjects: delay (hub, runner, session and page of one make, a streaming agent, Chromium), draw (a
frame of a long answer), cost (our hub with 100 streaming sessions and 1 or 50 pages). npm's hub
and page show text when its block has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.frame import AGENT, HERE, MAKES, OURS, Cast, Limit, markdown, table, until
from benchmarks.hub import HubBench, HubRun, helper_program, prepare
from benchmarks.hub_client import SessionSocket, run

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHUNK_RATE = 30  # chunks a second of the agent
BLOCKS, CHUNKS = 3, 100
SESSIONS = 100  # that stream at once
UPDATES = 10  # a second of each, of three chunks: what our sessions send
CHUNKS_PER_UPDATE = 3
TURN_TIMEOUT = 120.0  # seconds

# Takes the time of each `@milliseconds@` down when the frame that shows it is drawn.
WATCH = """() => {
    const seen = new Set();
    window.delays = [];
    const take = (text) => {
        for (const [, at] of text.matchAll(/@(\\d{13})@/g)) {
            if (seen.has(at)) continue;
            seen.add(at);
            requestAnimationFrame(() => window.delays.push(Date.now() - Number(at)));
        }
    };
    new MutationObserver((changes) => {
        for (const { target, addedNodes } of changes) {
            if (target.nodeType === Node.TEXT_NODE) take(target.data);
            for (const node of addedNodes) take(node.textContent ?? "");
        }
    }).observe(document, { subtree: true, childList: true, characterData: true });
}"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def signed_in(browser: Browser, make: str, url: str, token: str) -> Page:
    page = browser.new_page()
    page.set_default_timeout(60_000)  # ms
    if make == OURS:
        page.goto(f"{url}/#token={token}")
        page.locator(".shell").wait_for()
    else:
        page.goto(url)
        page.get_by_placeholder("Access token").fill(token)
        page.get_by_role("button", name="Sign In").click()
        page.get_by_text("No sessions yet").wait_for()
    return page


# --- from the agent to the page -------------------------------------------------------------------


def delay(bench: HubBench) -> None:
    for _ in range(bench.arguments.rounds):
        for make in MAKES:
            if make in bench.arguments.make:
                _delay(bench, make)


def _delay(bench: HubBench, make: str) -> None:
    path = Path(tempfile.mkdtemp(prefix="live-", dir=bench.path))
    cast = Cast(path, token="benchmark-token-of-no-value")
    agent = cast.directory("bin") / AGENT
    program = f"{sys.executable} -S -E {HERE / 'streaming_agent.py'}"
    agent.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    agent.chmod(0o755)
    cast.environment["PATH"] = os.pathsep.join([str(agent.parent), cast.base["PATH"]])
    try:
        _, user = cast.hub(make)
        runner = cast.runner(make, user)
        with chromium() as browser:
            page = signed_in(browser, make, user.url, cast.token)
            session = user.started(runner.machine_id, cast.directory("project"), AGENT)
            page.goto(f"{user.url}/sessions/{session}")
            page.get_by_role("textbox").first.wait_for()
            page.wait_for_timeout(2000)
            page.evaluate(WATCH)
            user.say(session, f"stream {BLOCKS} {bench.arguments.chunks} {CHUNK_RATE}")
            total = BLOCKS * bench.arguments.chunks
            until(
                lambda: page.evaluate("window.delays.length") >= 0.95 * total,
                TURN_TIMEOUT,
                "the page to show the answer",
            )
            delays = sorted(page.evaluate("window.delays"))
    finally:
        cast.end()
        shutil.rmtree(path, ignore_errors=True)
    name = f"agent says, page shows, {CHUNK_RATE} chunks a second"
    bench.note(f"{name}, p50 (ms)", make, delays[len(delays) // 2], Limit(most=150))
    bench.note(f"{name}, p99 (ms)", make, delays[int(len(delays) * 0.99)], Limit(most=150))


# --- drawing --------------------------------------------------------------------------------------

DRAW = """async ({ start, piece, size }) => {
    const { src } = document.querySelector("script[type=module]");
    const { GrowingMarkdown } = await import(new URL("lib/markdown/growing-markdown.js", src).href);
    const { markdown } = await import(new URL("lib/markdown/markdown.js", src).href);
    const { stylesheet } = await import(new URL("lib/stylesheet.js", src).href);
    await stylesheet(new URL("style/chat.css", src).href); // as in a conversation
    const answer = (size) => {
        const place = document.createElement("div");
        place.className = "block text";
        document.querySelector(".shell").append(place);
        const growing = new GrowingMarkdown();
        place.append(growing.node);
        let text = start;
        let number = 0;
        const add = () => (text += piece.replaceAll("#", String((number += 1))));
        while (text.length < size) add();
        growing.grow(text);
        const frame = () => {
            add();
            const began = performance.now();
            growing.grow(text);
            place.getBoundingClientRect();
            return performance.now() - began;
        };
        return { place, frame, text: () => text };
    };
    const middle = (times) => times.toSorted((one, other) => one - other)[times.length >> 1];
    const [long, short] = [answer(size), answer(size / 100)];
    const took = [];
    const short_took = [];
    while (took.length < 60) {
        took.push(long.frame());
        await new Promise((resolve) => setTimeout(resolve));
        short_took.push(short.frame());
        await new Promise((resolve) => setTimeout(resolve));
    }
    const began = performance.now();
    long.place.replaceChildren(markdown(long.text()));
    long.place.getBoundingClientRect();
    const whole = performance.now() - began;
    long.place.remove();
    short.place.remove();
    return { p50: middle(took), short: middle(short_took), longest: Math.max(...took), whole };
}"""
ANSWERS = {  # how each begins, and how it goes on
    "prose": ("", "Part # has **bold** text, `code` and a [link](https://a.example/x).\n\n"),
    "one block of code": ("```js\n", "let variable_# = 1; // a line of code\n"),
    "one list": ("", "- item # with **bold** text and `code`\n"),
}


def draw(bench: HubBench) -> None:
    """A frame near the end of an answer of 100 kB, laid out, without painting."""
    with bench.hub(OURS) as hub, chromium() as browser:
        page = signed_in(browser, OURS, hub.client.user.url, hub.client.user.token)
        for name, (start, piece) in ANSWERS.items():
            for _ in range(bench.arguments.rounds):
                took = page.evaluate(DRAW, {"start": start, "piece": piece, "size": 100_000})
                what = f"a frame of an answer of 100 kB, {name}"
                bench.note(f"{what}, p50 (ms)", OURS, took["p50"], Limit(most=16))
                bench.note(
                    f"{what}, times one of 1 kB, p50",
                    OURS,
                    took["p50"] / took["short"],
                    Limit(most=3),
                )
                bench.note(f"{what}, longest (ms)", OURS, took["longest"])
                bench.note(f"{what}, drawn anew (ms)", OURS, took["whole"])


# --- what it costs the hub ------------------------------------------------------------------------


def cost(bench: HubBench) -> None:
    for _ in range(bench.arguments.rounds):
        for count in bench.arguments.readers:
            with bench.hub(OURS) as hub:
                ids = [hub.client.create(f"streams-{number}") for number in range(SESSIONS)]
                run(_cost(bench, hub, ids, count))


async def _cost(bench: HubBench, hub: HubRun, ids: list[str], count: int) -> None:
    streams = [_Stream(each) for each in await hub.client.sockets(ids)]
    for stream in streams:
        stream.socket.alive(thinking=True)
    read = ",".join(ids[number % len(ids)] for number in range(count))
    jwt = hub.client.user.jwt
    with helper_program("hub_readers.py", hub.client.port, jwt, count, read) as reading:
        await _stream(streams, 1.0)  # warms up
        await asyncio.to_thread(reading.ask, "reset")
        used, began = hub.cpu(), time.monotonic()
        sent = await _stream(streams, bench.arguments.seconds)
        got = await asyncio.to_thread(reading.ask, "wait 0 1")
        used, seconds = hub.cpu() - used, time.monotonic() - began
    chunks = sent * CHUNKS_PER_UPDATE
    what = f"{SESSIONS} streaming sessions, {count} page{'s' if count > 1 else ''}"
    bench.note(f"{what}: hub CPU per 1,000 chunks (ms)", OURS, used / chunks * 1e6)
    bench.note(f"{what}: share of a core", OURS, used / seconds, Limit(most=1))
    bench.note(f"{what}: hub gets, page has it, p50 (ms)", OURS, got["p50"] * 1e3)
    bench.note(f"{what}: hub gets, page has it, p99 (ms)", OURS, got["p99"] * 1e3)
    for stream in streams:
        await stream.socket.close()


class _Stream:
    """A session whose agent streams one answer after another of 100 updates."""

    def __init__(self, socket: SessionSocket) -> None:
        self.socket, self.number, self.epoch = socket, 0, uuid.uuid4().hex

    def say(self) -> None:
        self.number += 1
        first = self.number % 100 == 1
        text = f"@{time.monotonic_ns()}@ three chunks of text in one "
        block: dict[str, Any] = {"id": f"{self.number // 100}", "type": "message", "text": text}
        body = {"sid": self.socket.session_id, "epoch": self.epoch, "number": self.number}
        more = {"whole": True} if first else {}
        block |= {} if first else {"append": True}
        self.socket.emit("session-live", {**body, "blocks": [block], **more})


async def _stream(streams: list[_Stream], seconds: float) -> int:
    """Each stream sends its updates, evenly spread; the number of all of them."""
    began, sent = time.monotonic(), 0
    rate = len(streams) * UPDATES
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate)
        while sent < due:
            streams[sent % len(streams)].say()
            sent += 1
        await asyncio.sleep(0.002)
    return sent


SUBJECTS = {"delay": delay, "draw": draw, "cost": cost}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks live",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="one round with small numbers")
    parser.add_argument("--readers", type=int, nargs="*", default=[1, 50], metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, help="of streaming for the cost")
    parser.add_argument("--chunks", type=int, default=CHUNKS, help="of each block")
    parser.add_argument("--only", choices=SUBJECTS, nargs="*", help="measure these only")
    parser.add_argument("--make", choices=MAKES, nargs="*", default=MAKES, help="these only")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".cache/bench-live.json")
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs")
    arguments = parser.parse_args(argv)
    if arguments.short:
        arguments.rounds, arguments.seconds, arguments.chunks = 1, 5.0, 30
    prepare()
    path = Path(tempfile.mkdtemp(prefix="hapi-bench-live-"))
    bench = HubBench(path, arguments)
    try:
        for subject in arguments.only or SUBJECTS:
            print(f"{subject} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            SUBJECTS[subject](bench)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        figures = bench.figures()
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        values = {f"{name} | {make}": found for (name, make), found in bench.values.items()}
        arguments.json.write_text(json.dumps(values, indent=2))
        print(markdown(figures) if arguments.markdown else table(figures))
