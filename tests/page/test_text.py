"""The page: what people and agents write is text, whatever it looks like."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.programs import until

pytestmark = pytest.mark.peer("chromium")

RUN = "window.ran=1"
PAYLOADS = [
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f'<iframe src="javascript:parent.{RUN}"></iframe>',
    f'<a href="javascript:{RUN}">click</a>',
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<marquee onstart={RUN}>",
    f'<object data="javascript:{RUN}">',
    f'<embed src="javascript:{RUN}">',
    f"<math><mtext><table><mglyph><style><img src=x onerror={RUN}>",
    f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
    f"<template><script>{RUN}</script></template>",
    f'<form><button formaction="javascript:{RUN}">go</button></form>',
    f'<meta http-equiv=refresh content="0;url=javascript:{RUN}">',
    "<base href=//evil.example/>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none}</style>",
    f'"><script>{RUN}</script>',
    f"'><img src=x onerror={RUN}>",
    f"</textarea><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"--><script>{RUN}</script>",
    f"]]><script>{RUN}</script>",
    f"{{{{constructor.constructor('{RUN}')()}}}}",
    f"${{{RUN}}}",
    f"[click](javascript:{RUN})",
    f"[click](JaVaScRiPt:{RUN})",
    f"[click]( javascript:{RUN} )",
    f"[click](java\tscript:{RUN})",
    f"[click](&#106;avascript:{RUN})",
    f"[click](data:text/html,<script>{RUN}</script>)",
    f"[click](vbscript:{RUN})",
    f"[click](blob:{RUN})",
    "[click](//evil.example)",
    f'[click](https://a.example/" onmouseover="{RUN})',
    f'![x](x" onerror="{RUN})',
    f"![x](javascript:{RUN})",
    f"<javascript:{RUN}>",
    f"[x]: javascript:{RUN}\n\n[x]",
    f"```html\n<script>{RUN}</script>\n```",
    f'```"><script>{RUN}</script>\ncode\n```',
    f"`<script>{RUN}</script>`",
    f"| <img src=x onerror={RUN}> | b |\n|---|---|\n| <script>{RUN}</script> | c |",
    f"# <img src=x onerror={RUN}>",
    f"> <script>{RUN}</script>",
    f"- [ ] <script>{RUN}</script>",
    f"**<b onclick={RUN}>bold</b>**",
    "https://example.com/<script>",
    f"\u003cscript\u003e{RUN}\u003c/script\u003e",
    f"\x00<script>{RUN}</script>",
    f"\u202e<script>{RUN}</script>",
    f"<scr\x00ipt>{RUN}</scr\x00ipt>",
]
NEVER_MADE = (
    "script, iframe, object, embed, style, base, video, marquee, math, template,"
    " meta[http-equiv], img:not([src='/icon.svg'])"
)
FOREIGN = f"""() => [
  ...document.body.querySelectorAll({NEVER_MADE!r}),
  ...[...document.querySelectorAll('*')].filter(
    node => [...node.attributes].some(attribute => attribute.name.startsWith('on'))),
  ...[...document.querySelectorAll('[style]')].filter(
    node => !node.matches('textarea, .virtual-list, .chat .blocks')),
  ...[...document.querySelectorAll('a')].filter(link => !/^(https?|mailto):/.test(link.href)),
].map(node => node.outerHTML)"""


SCREEN = """async () => {
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
  return [...document.querySelectorAll('.block.text')].map(block => block.innerText.trim());
}"""
NEXT_SCREEN = """log => {
  const before = log.scrollTop;
  log.scrollBy(0, log.clientHeight / 2);
  return log.scrollTop > before;
}"""


def screens(page):
    """Read the conversation on to its end; only what is near the screen is in the document."""
    while True:
        yield page.evaluate(SCREEN)
        if not page.get_by_role("log").evaluate(NEXT_SCREEN):
            return


def test_nothing_that_is_written_becomes_markup__U02(place):
    session = place.session(
        name=PAYLOADS[0],
        path=f"/home/{PAYLOADS[1]}",
        flavor=PAYLOADS[2],
        summary={"text": PAYLOADS[3], "updatedAt": 1},
    )
    for number, payload in enumerate(PAYLOADS):
        session.record(type="message", message=payload)
        session.record(type="reasoning", id=f"r{number}", message=payload)
        session.record(
            type="tool-call",
            callId=payload,
            name=payload,
            nativeTitle=payload,
            nativeKind="__proto__",
            input={"command": payload, payload: payload},
        )
        session.record(type="tool-call-result", callId=payload, output=[{"text": payload}])
        session.record(
            type="plan", entries=[{"content": payload, "priority": "high", "status": payload}]
        )
        session.event(type="message", message=payload)
        session.claude(type="assistant", message={"content": [{"type": "text", "text": payload}]})
    session.ask(
        PAYLOADS[0],
        PAYLOADS[1],
        {
            "questions": [
                {
                    "question": PAYLOADS[2],
                    "header": PAYLOADS[3],
                    "options": [{"label": PAYLOADS[4]}],
                }
            ]
        },
    )
    page = place.open(session)
    expect(page.locator(".block.text").last).to_be_visible()
    older = page.locator(".older")
    until(lambda: older.evaluate("older => { older.click(); return older.hidden; }"))
    for payload in PAYLOADS[:4]:
        page.get_by_role("textbox", name="Message").fill(payload)
        page.keyboard.press("Enter")
        expect(page.locator(".user.sent").last).to_contain_text(payload)
    page.get_by_role("button", name="Session settings").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("log").evaluate("log => log.scrollTo(0, 0)")
    expect(page.locator(".block.text").first).to_have_text(PAYLOADS[0])
    read = set()
    for texts in screens(page):
        read.update(texts)
        assert page.evaluate(FOREIGN) == []
    assert PAYLOADS[0] in read
    assert len(read) > len(PAYLOADS) / 2  # Markdown draws some of them as something else
    assert page.evaluate("window.ran") is None


IMPORT = "const {markdown} = await import('/lib/markdown/markdown.js');"
LINK = 'href="https://a.example/x" target="_blank" rel="noopener noreferrer"'
HEAD = '<tr><th>a</th><th class="centered">b</th></tr>'
ROW = '<tr><td>1</td><td class="centered">2</td></tr>'
GRID = f"<table><thead>{HEAD}</thead><tbody>{ROW}</tbody></table>"
TABLE = f'<div class="table" tabindex="0">{GRID}</div>'
MARKDOWN = {
    "# Title": "<h3>Title</h3>",
    "**bold** and *thin*": "<p><strong>bold</strong> and <em>thin</em></p>",
    "~~gone~~ and `code`": "<p><s>gone</s> and <code>code</code></p>",
    "snake_case_name and 2 * 3 * 4": "<p>snake_case_name and 2 * 3 * 4</p>",
    "**a *b* c**": "<p><strong>a <em>b</em> c</strong></p>",
    "one\ntwo\n\nthree": "<p>one<br>two</p><p>three</p>",
    "- a\n- b\n  - c\n- d": "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>",
    "3. x\n4. y": '<ol start="3"><li>x</li><li>y</li></ol>',
    "> quoted": "<blockquote><p>quoted</p></blockquote>",
    "---": "<hr>",
    "a \\*literal\\* star": "<p>a *literal* star</p>",
    "[site](https://a.example/x)": f"<p><a {LINK}>site</a></p>",
    "see https://a.example/x.": f"<p>see <a {LINK}>https://a.example/x</a>.</p>",
    "| a | b |\n|---|:-:|\n| 1 | 2 |": TABLE,
    "unclosed **bold and `code": "<p>unclosed **bold and `code</p>",
    "": "",
}


def test_words_that_every_object_knows_are_only_words(place):
    for word in ("constructor", "__proto__", "toString", "hasOwnProperty"):
        draws_the_word(place, word)


def draws_the_word(place, word):
    session = place.session(name=word, flavor=word)
    session.record(
        type="tool-call", callId=word, name=word, nativeKind=word, input={word: word}, status=word
    )
    session.record(type="plan", entries=[{"content": word, "priority": word, "status": word}])
    session.ask(word, word, {word: word})
    page = place.open(session)
    expect(page.locator(".tool-name")).to_have_text(word)
    page.get_by_role("button", name="Session settings").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"Agent{word}")


def test_markdown_is_drawn_as_it_is_meant(place):
    page = place.visit(logged_in=False)
    draw = f"async text => {{ {IMPORT} return markdown(text).innerHTML; }}"
    assert {text: page.evaluate(draw, text) for text in MARKDOWN} == MARKDOWN


HOSTILE = [
    "*",
    "**a",
    "_",
    "`",
    "[",
    "[a](",
    "<",
    "> ",
    "- ",
    "~~",
    "|-",
    "![",
    "h",
    "https://",
    "\\",
    "(",
    "a\n",
    "#",
]


def test_hostile_markdown_costs_no_more_than_its_length(place):
    page = place.visit(logged_in=False)
    count = f"async text => {{ {IMPORT} return markdown(text).textContent.length; }}"
    assert [piece for piece in HOSTILE if page.evaluate(count, piece * 20000) is None] == []


def test_a_paragraph_of_a_megabyte_shows_its_beginning_and_more_when_asked(place):
    """All of its 114,000 elements at once took a browser 15 s."""
    page = place.visit(logged_in=False)
    page.evaluate(
        f"async text => {{ {IMPORT} document.body.replaceChildren(markdown(text)); }}",
        "the `x` is *b* and **c** " * 38_000,
    )
    more = page.locator("p").get_by_role("button", name="Show more")
    count = "() => document.querySelectorAll('.markdown *').length"
    before = page.evaluate(count)
    assert before < 7_000
    more.click()
    expect(more).to_be_focused()
    assert before < page.evaluate(count) < 21_000
