"""The page's list of sessions with many of them: frames while it scrolls, and the time of a redraw.

`python -m benchmarks.session_list [--sessions 5000]` starts a hub of its own with so many ended
sessions in 40 projects, opens the page in Chromium (Playwright), and prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

TOKEN = "benchmark-token-0123456789"
PROJECTS = 40
SCROLLS = 120  # frames
# Scrolls 600 px a frame; the times between frames, in ms.
SCROLLING = """async (frames) => {
  const scroller = document.querySelector(".side-scroll");
  const times = [];
  let last = await new Promise(requestAnimationFrame);
  for (let frame = 0; frame < frames; frame += 1) {
    scroller.scrollTop += 600;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def fill(hub: str, count: int) -> None:
    for number in range(count):
        metadata = {
            "path": f"/home/dev/project-{number % PROJECTS}",
            "host": "box",
            "machineId": "m",
            "flavor": ("claude", "codex", "opencode")[number % 3],
            "name": f"Session {number}",
            "homeDir": "/home/dev",
        }
        post(f"{hub}/cli/sessions", {"tag": f"bench-{number}", "metadata": metadata})


def measure(page: Page, hub: str, count: int) -> dict[str, Any]:
    page.goto(f"{hub}/#token={TOKEN}")
    began = time.monotonic()
    page.wait_for_selector(".project-head")
    first = time.monotonic() - began
    page.get_by_role("searchbox").fill("session")  # opens all projects
    heights = page.evaluate("() => document.querySelector('.virtual-list').offsetHeight")
    page.evaluate("() => { document.querySelector('.side-scroll').scrollTop = 0 }")
    times = sorted(page.evaluate(SCROLLING, SCROLLS))
    redraws = []
    for _ in range(10):  # a word of a search makes the list anew
        for text in ("Session 4", ""):
            redraws.append(
                page.evaluate(
                    """(text) => {
                      const field = document.querySelector("input[type=search]");
                      field.value = text;
                      const began = performance.now();
                      field.dispatchEvent(new Event("input"));
                      return performance.now() - began;
                    }""",
                    text,
                )
            )
    return {
        "sessions": count,
        "firstRowsSeconds": round(first, 2),
        "listHeightPixels": heights,
        "nodes": page.evaluate("() => document.querySelectorAll('.virtual-list *').length"),
        "frameMedianMs": round(times[len(times) // 2], 1),
        "frame95Ms": round(times[int(len(times) * 0.95)], 1),
        "frameMaxMs": round(times[-1], 1),
        "redrawMedianMs": round(sorted(redraws)[len(redraws) // 2], 1),
        "redrawMaxMs": round(max(redraws), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5000)
    count = parser.parse_args().sessions
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HAPI_HOME": home, "CLI_API_TOKEN": TOKEN}
        command = [sys.executable, "-m", "hapi", "hub", "--port", str(port)]
        hub = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1]
        )
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(100):
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=5)
                    break
                except OSError:
                    time.sleep(0.1)  # until the hub listens
            fill(url, count)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 390, "height": 844})
                print(json.dumps(measure(page, url, count), indent=2))
                browser.close()
        finally:
            hub.terminate()
            hub.wait()


if __name__ == "__main__":
    main()
