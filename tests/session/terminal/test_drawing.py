"""What a terminal shows: Markdown in blocks, diffs, the status, completions."""

from collections.abc import Sequence

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.output.color_depth import ColorDepth
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from hapi.session.terminal.blocks import MAX_BLOCK, BlockCutter
from hapi.session.terminal.completion import FileLister, LineCompleter
from hapi.session.terminal.devices import colour_depth
from hapi.session.terminal.painter import Painter, wrapped
from hapi.session.terminal.status_line import SessionStatus, fitting, status_texts

PLAIN = Painter(ColorDepth.DEPTH_1_BIT)
COLOURED = Painter(ColorDepth.DEPTH_8_BIT)


# --- blocks
MESSAGE = """One
two

- a

  more of a
- b

```python
x = 1

y = 2
```
After.
"""


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_message_is_cut_into_the_same_blocks_however_it_arrives(size):
    cutter, blocks = BlockCutter(), []
    for at in range(0, len(MESSAGE), size):
        blocks += cutter.add(MESSAGE[at : at + size])
    blocks.append(cutter.finish())
    assert blocks == [
        "One\ntwo\n\n",
        "- a\n\n  more of a\n- b\n\n",
        "```python\nx = 1\n\ny = 2\n```\n",
        "After.\n",
    ]


def test_a_block_without_an_end_is_cut():
    cutter = BlockCutter()
    blocks = cutter.add("x" * (3 * MAX_BLOCK))
    assert [len(block) for block in blocks] == [MAX_BLOCK, MAX_BLOCK]
    assert cutter.finish() == "x" * MAX_BLOCK
    blocks = cutter.add("line\n" * MAX_BLOCK)
    assert all(block.endswith("\n") for block in blocks)
    assert max(map(len, blocks)) <= MAX_BLOCK


# --- Markdown
def test_line_breaks_html_and_unknown_escapes_stay():
    shown = PLAIN.markdown("a\nb <b>c</b>\n\n<div>\nkept\n</div>\n")
    assert shown == "a\nb <b>c</b>\n\n<div>\nkept\n</div>"


def test_no_escape_code_of_an_agent_is_left():
    nasty = "# \x1b]0;owned\x07\n`\x1b[2J` [x](http://\x1b[31m) \x9b31m\n\n```\n\x1b[1m\n```\n"
    shown = COLOURED.markdown(nasty)
    assert "\x07" not in shown
    assert "\x9b" not in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert "\\x1b[2J" in shown


def test_colours_are_left_out_without_colours():
    text = "`code` **bold**\n\n```python\ndef f(): pass\n```\n"
    assert "\x1b[36m" in COLOURED.markdown(text)
    assert "\x1b[3" not in PLAIN.markdown(text)
    assert "\x1b[1m" in PLAIN.markdown(text)
    assert "\x1b[3" not in "".join(PLAIN.diff("@@ -1 +1 @@\n-a\n+b\n"))


def test_an_encoding_without_bullets_gets_stars():
    painter = Painter(ColorDepth.DEPTH_1_BIT, "ascii")
    assert painter.markdown("- one\n") == "\x1b[1m * \x1b[0mone"
    assert painter.plain("€ · x") == "\\u20ac - x"


def test_a_narrow_terminal_wraps_words():
    painter = Painter(ColorDepth.DEPTH_1_BIT, columns=lambda: 20)
    assert max(map(len, painter.markdown("word " * 20).splitlines())) <= 20


def test_a_diff_is_coloured_by_line():
    added, removed = COLOURED.diff("+new\n-old\n")
    assert added == "\x1b[32m+new\x1b[0m"
    assert removed == "\x1b[31m-old\x1b[0m"


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm-256color"}, ColorDepth.DEPTH_8_BIT),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, ColorDepth.DEPTH_24_BIT),
        ({"TERM": "xterm"}, ColorDepth.DEPTH_4_BIT),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, ColorDepth.DEPTH_1_BIT),
        ({"TERM": "vt100"}, ColorDepth.DEPTH_1_BIT),
    ],
)
def test_colours_are_those_of_the_terminal(environ, depth):
    assert colour_depth(environ) == depth


# --- the status
def test_the_status_tells_what_the_session_is():
    status = SessionStatus(mode="plan", model="opus", context=(45_200, 200_000), working=3.2)
    assert status_texts(status) == [
        "working 3 s",
        "plan",
        "opus",
        "context 23 % of 200k",
        "? help",
    ]
    assert "hub not connected" in status_texts(SessionStatus(is_connected=False))


@pytest.mark.parametrize(
    ("columns", "shown"), [(80, "one · two · three"), (10, "one · two"), (2, "on"), (0, "")]
)
def test_a_status_that_does_not_fit_is_shortened(columns, shown):
    assert fitting(["one", "two", "three"], columns) == shown


def test_the_key_of_the_help_is_left_out_last():
    texts = ["working 3 s", "default mode", "context 23 % of 200k", "? help"]
    assert fitting(texts, 50, keeps_last=True) == "working 3 s · default mode · ? help"
    assert fitting(texts, 20, keeps_last=True) == "working 3 s · ? help"
    assert fitting(texts, 15, keeps_last=True) == "working 3 s"


def test_a_mode_and_a_model_that_are_called_default_say_what_they_are():
    status = SessionStatus(mode="default", model="default")
    assert status_texts(status) == ["default mode", "default model", "? help"]


# --- lines
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three four", "one two\nthree four"),
        ("  | one two three", "  | one\n  | two\n  | three"),
        ("- one two three", "- one two\n  three"),
        ("see http://hub.example/x now", "see\nhttp://hub.example/x\nnow"),
        ("日本 日本 日本", "日本 日本\n日本"),
        ("short\n\n  kept  ", "short\n\n  kept  "),
    ],
)
def test_long_lines_are_broken_at_spaces_and_indented_as_they_are(text, shown):
    assert wrapped(text, 10) == shown


# --- completion
async def find(query: str) -> Sequence[str]:
    return ["src/alpha.py", "with space", "src/", "a dir/", "bad\x1b[2J", 'quo"ted']


async def completed(text):
    completer = LineCompleter(lambda: [("tour", "Show\x1b all"), ("plan", None)], find, PLAIN.plain)
    document = Document(text, len(text))
    found = completer.get_completions_async(document, CompleteEvent())
    return [(each.text, each.display_meta_text) async for each in found]


def run(coroutine):
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def test_commands_are_completed_at_the_beginning_alone():
    assert run(completed("/t")) == [("/tour ", "Show\\x1b all")]
    assert len(run(completed("/"))) == 2
    assert run(completed("say /t")) == []
    assert run(completed("/tour x")) == []


def test_files_are_completed_after_an_at_sign_that_begins_a_word():
    names = ["@src/alpha.py ", '@"with space" ', "@src/", '@"a dir/']
    assert [text for text, _ in run(completed("see @al"))] == names
    assert [text for text, _ in run(completed('see @"with sp'))] == names
    assert run(completed("me@example")) == []


class WithoutGit(FileLister):
    async def _list(self):
        return ["src/deep/one.py", "src.txt"]


def test_directories_are_found_by_their_names_and_paths_outside_are_listed(tmp_path):
    project = tmp_path / "project"
    for name in ("project/src/deep/one.py", "project/src.txt", "other/x", "other/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    lister = WithoutGit(Clock(), {"HOME": str(tmp_path)}, str(project), maybeDeferred)
    assert run(lister.find("src"))[:2] == ["src/", "src.txt"]
    assert "src/deep/" in run(lister.find("src"))
    assert run(lister.find("..")) == ["../"]
    assert run(lister.find("../")) == ["../other/", "../project/"]
    assert run(lister.find("../other/")) == ["../other/x"]
    assert run(lister.find("../other/.h")) == ["../other/.hidden"]
    assert run(lister.find("~/pro")) == ["~/project/"]
    assert run(lister.find(f"{tmp_path}/other/x")) == [f"{tmp_path}/other/x"]
    assert run(lister.find("../nothing/")) == []
