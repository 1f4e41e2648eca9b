"""Make the pictures of docs/walkthrough.md: start `hapi up` on a home of its own and walk through
the loop in a browser.

    python docs/make_screenshots.py [directory]     # default: docs/images

Needs chromium and the `test` extra. Nothing of the person who runs it is read or shown.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).parent
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "color_scheme": "dark",
}
CART = """\
def total(items):
    \"\"\"The price of all items, each a price and a count.\"\"\"
    return sum(price * count for price, count in items)
"""
README = """\
# Shop

How an order goes, see [the cart](cart.py):

```mermaid
flowchart LR
  Cart --> Payment --> Parcel
  Payment -->|refused| Cart
```
"""
BROWSER_TIMEOUT = 20_000.0  # ms
MAX_IMAGE_SIZE = 200_000  # bytes


@contextmanager
def hapi_up(place: Path) -> Iterator[str]:
    """`hapi up` with everything below `place`; the page's address with the token."""
    home = place / "dev"
    make_project(home / "shop")
    (home / ".bashrc").write_text("PS1='ada@workshop:\\w$ '\n")
    environment = {
        "HOME": str(home),
        "HAPI_HOME": str(place / "state"),
        "HAPI_HOSTNAME": "workshop",
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(HERE.parent),
    }
    with (place / "up.log").open("wb") as log:
        argv = [sys.executable, "-m", "hapi", "up", "--port", "0", "--json"]
        program = subprocess.Popen(
            argv, env=environment, cwd=home, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert program.stdout is not None
        printed = ""
        for line in program.stdout:
            printed += line
            try:
                yield str(json.loads(printed)["page"])
                break
            except json.JSONDecodeError:
                continue
        else:
            raise SystemExit(f"hapi up did not come up:\n{printed}{(place / 'up.log').read_text()}")
    finally:
        end_sessions(environment)
        program.send_signal(signal.SIGTERM)
        program.wait(10)


def end_sessions(environment: dict[str, str]) -> None:
    """Sessions outlive `hapi up`; these are not wanted any more."""

    def hapi(*words: str) -> str:
        argv = [sys.executable, "-m", "hapi", "runner", *words]
        return subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=30, check=False
        ).stdout

    for session in json.loads(hapi("list", "--json") or "[]"):
        hapi("stop-session", session["happySessionId"])


def make_project(root: Path) -> None:
    """A small git repository with a change that is not committed yet."""
    root.mkdir(parents=True)

    def git(*words: str) -> None:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    (root / "README.md").write_text(README)
    (root / "cart.py").write_text(CART)
    (root / "test_cart.py").write_text("from cart import total\n")
    git("add", ".")
    git("commit", "--message=Add up the cart")
    changed = CART.replace("price * count", "price * count * (1 - discount)")
    (root / "cart.py").write_text(changed.replace("(items)", "(items, discount=0)"))


class Album:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def take(self, page: Page, name: str) -> None:
        page.wait_for_timeout(400)  # ms; let transitions come to rest
        path = self._directory / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size < MAX_IMAGE_SIZE, f"{path} is too large"
        print(path)


def open_page(browser: Browser, address: str, **context: object) -> Page:
    made = browser.new_context(locale="en-GB", **context)  # type: ignore[arg-type]
    made.set_default_timeout(BROWSER_TIMEOUT)
    page = made.new_page()
    page.goto(address)
    return page


def walk(browser: Browser, address: str, album: Album) -> None:
    """Log in, start the demo agent, chat, approve, go on at a phone, look at its work, archive."""
    page = open_page(browser, address, **DESKTOP)
    expect(page.get_by_role("main").get_by_role("link", name="workshop")).to_contain_text("Demo")
    album.take(page, "start")

    page.get_by_role("main").get_by_role("button", name="New session").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Directory", exact=True).fill("~/shop")
    expect(dialog.get_by_role("radio", name="Demo")).to_be_checked()
    expect(dialog).to_contain_text("Directory found.")
    album.take(page, "new-session")
    dialog.get_by_role("button", name="Start session").click()

    box = page.get_by_role("textbox", name="Message")
    expect(box).to_be_enabled()
    box.fill("Hello! What can you do?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Allow for session")).to_be_visible()
    album.take(page, "permission")

    phone = open_page(browser, address, **PHONE)
    phone.locator("a[data-session]").first.wait_for()
    album.take(phone, "phone-list")
    phone.locator("a[data-session]").first.click()
    expect(phone.get_by_role("button", name="Allow", exact=True)).to_be_visible()
    album.take(phone, "phone-permission")
    phone.get_by_role("button", name="Allow", exact=True).click()

    expect(page.locator(".tool.completed")).to_be_visible()
    expect(page.locator(".working")).to_be_hidden()
    album.take(page, "conversation")

    look_at_work(page, phone, album)
    write_more(page, phone, address, album)

    page.get_by_role("button", name="Session settings").click()
    page.get_by_role("textbox", name="Name").fill("A tour of the shop")
    page.keyboard.press("Enter")
    expect(page.locator(".head-main .title")).to_have_text("A tour of the shop")
    page.locator(".toast").last.get_by_role("button", name="Dismiss").click()
    album.take(page, "settings")
    page.get_by_role("button", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("This session was ended.")
    album.take(page, "archived")


def look_at_work(page: Page, phone: Page, album: Album) -> None:
    """Changes with a comment on a line, a document with a diagram, a terminal."""
    page.get_by_role("button", name="Changes and files").click()
    page.get_by_role("link", name="modified").click()
    page.get_by_role("button", name="Comment on line 3", exact=True).click()
    page.get_by_label("Comment", exact=True).fill("Please test a discount of 10 %.")
    page.get_by_role("button", name="Keep comment").click()
    expect(page.locator(".diff-comment")).to_be_visible()
    album.take(page, "changes")
    page.get_by_role("link", name="Terminal", exact=True).click()
    screen = page.locator(".terminal-pane:not([hidden]) .xterm-rows")
    expect(screen).to_contain_text("shop")
    page.keyboard.type("git log --oneline --stat | cat\n")
    expect(screen).to_contain_text("3 files changed")
    album.take(page, "terminal")
    page.get_by_role("link", name="Chat", exact=True).click()

    phone.get_by_role("button", name="Changes and files").click()
    phone.get_by_role("link", name="Files", exact=True).click()
    phone.get_by_role("link", name="README.md").click()
    diagram = phone.get_by_role("img", name="Diagram: flowchart")
    expect(diagram).to_be_visible(timeout=3 * BROWSER_TIMEOUT)  # its library has 3 MB
    album.take(phone, "phone-files")
    phone.get_by_role("link", name="Chat", exact=True).click()


def write_more(page: Page, phone: Page, address: str, album: Album) -> None:
    """A picture that is attached, what the search finds, and a notice of another session."""
    with phone.expect_file_chooser() as chooser:
        phone.get_by_role("button", name="Attach files").click()
    chooser.value.set_files(HERE / "images" / "start.png")
    box = phone.get_by_role("textbox", name="Message")
    box.fill("What is wrong on this picture?")
    expect(phone.get_by_role("button", name="Send", exact=True)).to_be_enabled()
    album.take(phone, "phone-attachment")
    phone.get_by_role("button", name="Send", exact=True).click()
    expect(phone.locator(".user").last).to_contain_text("on this picture")

    conversation = page.url
    origin = address.split("/#", maxsplit=1)[0]
    page.goto(f"{origin}/search?q=command")
    expect(page.locator("a.result").first).to_be_visible()
    album.take(page, "search")
    page.goto(conversation)
    expect(page.get_by_role("textbox", name="Message")).to_be_enabled()

    phone.goto(origin)
    phone.get_by_role("button", name="New session").first.click()
    dialog = phone.get_by_role("dialog")
    dialog.get_by_label("Directory", exact=True).fill("~/shop/docs")
    expect(dialog).to_contain_text("This directory will be created.")
    dialog.get_by_role("button", name="Start session").click()
    expect(box).to_be_enabled()
    box.fill("run: ls -l")
    phone.get_by_role("button", name="Send", exact=True).click()
    notice = page.locator(".toast.asks")
    expect(notice).to_be_visible()
    album.take(page, "notice")
    notice.get_by_role("button", name="Allow", exact=True).click()
    expect(notice).to_be_hidden()


def main(directory: Path) -> None:
    expect.set_options(timeout=BROWSER_TIMEOUT)
    place = Path(tempfile.mkdtemp(prefix="hapi-walk-"))
    try:
        with hapi_up(place) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            walk(browser, address, Album(directory))
            browser.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    os.umask(0o022)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images")
