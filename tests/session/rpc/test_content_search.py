"""Search in the contents of files: within the directory, bounded in time and size."""

from __future__ import annotations

import os

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from hapi.confined_directory import ConfinedDirectory
from hapi.protocol.work.files import FoundContent, FoundLine
from hapi.session.rpc import content_search
from hapi.session.rpc.content_search import ContentSearch


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    (made / "src/app.py").write_text("import os\nNeedle = 1\nprint(needle, NEEDLE)\n")
    (made / "notes.txt").write_text("no thread")
    (tmp_path / "secret.txt").write_text("needle outside")
    return made


@pytest.fixture
def search(root):
    return ContentSearch(ConfinedDirectory(root)).search


@pytest_twisted.ensureDeferred
async def test_lines_are_found_whatever_the_case_and_each_once(search):
    assert await search({"query": "needle"}) == FoundContent(
        [
            FoundLine("src/app.py", 2, "Needle = 1"),
            FoundLine("src/app.py", 3, "print(needle, NEEDLE)"),
        ],
        2,
    )


@pytest_twisted.ensureDeferred
async def test_nothing_outside_is_read_and_no_link_is_followed(search, root):
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to(root.parent)
    os.mkfifo(root / "fifo")
    found = await search({"query": "outside"})
    assert (found.matches, found.files) == ([], 2)


@pytest_twisted.ensureDeferred
async def test_binary_and_large_files_are_left_out_and_that_is_said(search, root, monkeypatch):
    monkeypatch.setattr(content_search, "MAX_FILE_SIZE", 100)
    (root / "picture.png").write_bytes(b"\0needle")
    (root / "large.txt").write_text("needle\n" * 100)
    found = await search({"query": "needle"})
    assert {match.path for match in found.matches} == {"src/app.py"}
    assert found.incomplete == "Binary and very large files were left out."


@pytest_twisted.ensureDeferred
async def test_a_text_is_no_pattern(search, root):
    (root / "regex.txt").write_text("a.*b (c\n")
    assert [match.line for match in (await search({"query": ".*b (c"})).matches] == [1]


@pytest_twisted.ensureDeferred
async def test_a_long_line_is_cut_around_the_place(search, root):
    (root / "long.txt").write_text("x" * 5000 + "spot" + "y" * 5000)
    (match,) = (await search({"query": "spot"})).matches
    assert "spot" in match.text
    assert len(match.text) < 310


@pytest_twisted.ensureDeferred
async def test_names_that_are_not_utf_8_and_odd_bytes_hurt_nobody(search, root):
    with open(bytes(root) + b"/bad\xff.txt", "wb") as file:
        file.write(b"\xff\xfe needle")
    found = await search({"query": "needle"})
    assert "bad\ufffd.txt" in {match.path for match in found.matches}


@pytest_twisted.ensureDeferred
async def test_the_number_of_lines_is_limited(search, root):
    (root / "many.txt").write_text("needle\n" * 1000)
    found = await search({"query": "needle", "limit": 10})
    assert (len(found.matches), found.incomplete) == (10, "Only 10 lines are shown.")
    assert len((await search({"query": "needle"})).matches) == 52


@pytest_twisted.ensureDeferred
async def test_a_search_ends_in_time(root):
    times = iter(range(0, 1000, 5))
    search = ContentSearch(ConfinedDirectory(root), lambda: next(times)).search
    found = await search({"query": "needle"})
    assert found.incomplete == content_search.OUT_OF_TIME
    assert found.files == 1


@pytest_twisted.ensureDeferred
async def test_a_newer_search_ends_the_one_before(root):
    made = ContentSearch(ConfinedDirectory(root))
    first = Deferred.fromCoroutine(made.search({"query": "needle"}))
    second = Deferred.fromCoroutine(made.search({"query": "thread"}))
    assert (await second).files == 2
    assert (await first).incomplete in (None, "Another search has taken the place of this one.")


@pytest.mark.parametrize("params", [None, {}, {"query": ""}, {"query": 3}, {"query": "x" * 1001}])
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_searched_is_refused(search, params):
    answer = await search(params)
    assert answer["success"] is False
