"""What the holder writes down when the disk refuses it."""

import os

import pytest

from hapi.process import holder


@pytest.fixture
def folder(tmp_path):
    """One in which `end.json` cannot be put in place."""
    (tmp_path / "end.json").mkdir()
    return tmp_path


def test_a_record_that_the_disk_refuses_leaves_nothing_behind__S02(folder):
    assert not holder.write(str(folder), "end.json", "{}\n")
    assert os.listdir(folder) == ["end.json"]
    assert holder.write(str(folder), "process.json", "{}\n")
    assert sorted(os.listdir(folder)) == ["end.json", "process.json"]


def test_a_record_of_which_only_a_part_has_room_is_none__S02(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(
        holder.os, "write", lambda file, content: write(file, content[:5] if file > 2 else content)
    )
    assert not holder.write(str(tmp_path), "end.json", '{"exitCode":0}\n')
    assert os.listdir(tmp_path) == []


def test_an_end_is_written_when_there_is_space_again__S02(folder, monkeypatch):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            (folder / "end.json").rmdir()

    monkeypatch.setattr(holder.time, "sleep", sleep)
    holder.write_sooner_or_later(str(folder), "end.json", "{}\n")
    assert naps == [1.0] * 3
    assert (folder / "end.json").read_text() == "{}\n"


@pytest.mark.parametrize("is_there", [True, False])
def test_an_end_that_nobody_can_be_told_is_given_up__S02_S14(folder, monkeypatch, is_there):
    naps = []
    monkeypatch.setattr(holder.time, "sleep", naps.append)
    holder.write_sooner_or_later(str(folder if is_there else folder / "gone"), "end.json", "{}\n")
    assert len(naps) == (holder.TRIES if is_there else 0)
