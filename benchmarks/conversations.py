"""Measures long conversations in Chromium: our page on our hub and npm's page on npm's hub, one
after the other in one run. Prints figures and the ratios of the two.

    python -m benchmarks conversations [--messages N]

shown: seconds until the newest message is on screen. median, p95, longest: milliseconds between
frames while messages come. late: frames above 50 ms. nodes: elements of the document. heap: MB.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support.long_conversation import answers, say_many
from tests.support.page_sessions import ScriptedSession
from tests.support.peers import NPM, OURS, Cast

TOKEN = "benchmark-token-of-no-value"
PHONE = {"width": 390, "height": 844}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
SHOWN_TIMEOUT = 60_000.0  # ms
STREAM_TIME = 8000  # ms
STREAMED = 150  # messages
FRAMES = """async (time) => {
  const gaps = [];
  let last = performance.now();
  for (const end = last + time; last < end;) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
  }
  gaps.sort((one, other) => one - other);
  return {
    median: gaps[gaps.length >> 1],
    p95: gaps[Math.floor(gaps.length * 0.95)],
    longest: gaps.at(-1),
    late: gaps.filter((gap) => gap > 50).length,
    nodes: document.querySelectorAll("*").length,
    heap: performance.memory.usedJSHeapSize / 1e6,
  };
}"""


def measured(browser: Browser, make: str, messages: int) -> dict[str, float]:
    """The figures of one make, whose hub is started for them."""
    with tempfile.TemporaryDirectory(prefix="hapi-bench-") as path:
        cast = Cast(Path(path) / "stage", token=TOKEN)
        running, user = cast.hub(make)
        session = ScriptedSession(user.url, TOKEN)
        try:
            say_many(session, answers(messages))
            page = browser.new_context(viewport=PHONE).new_page()
            started = time.monotonic()
            page.goto(f"{user.url}/sessions/{session.id}?token={TOKEN}#token={TOKEN}")
            newest = page.get_by_text(f"Answer {messages - 1}.").first
            newest.wait_for(timeout=SHOWN_TIMEOUT)
            shown = time.monotonic() - started
            streaming = threading.Thread(target=stream, args=(session,))
            streaming.start()
            figures = page.evaluate(FRAMES, STREAM_TIME)
            streaming.join()
            page.context.close()
            return {"shown": shown, **figures}
        finally:
            session.close()
            running.program.end()


def stream(session: ScriptedSession) -> None:
    for number in range(STREAMED):
        text = f"New {number}. **bold** `code`\n\n- a\n- b"
        session.record(type="message", id=f"n{number}", message=text)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=10_000, metavar="N")
    messages = parser.parse_args(arguments).messages
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        ours, npm = (measured(browser, make, messages) for make in (OURS, NPM))
        browser.close()
    print(f"{messages} messages{'ours':>12}{'npm':>12}{'ours/npm':>12}")
    for name, value in ours.items():
        ratio = f"{value / npm[name]:12.2f}" if npm[name] else f"{'-':>12}"
        print(f"{name:<{len(str(messages)) + 9}}{value:12.2f}{npm[name]:12.2f}{ratio}")
