"""Where HAPI_HOME is and who may look into it."""

import os
import pwd

import pytest

from hapi.home import Home, HomeUnusable


@pytest.mark.parametrize("name", ["plain", "with spaces", "new\nline", "ünï", "-dash", "a'b\"c"])
def test_a_home_of_any_name_is_used__S10(tmp_path, name):
    home = Home.find({"HAPI_HOME": str(tmp_path / name)}).prepare()
    assert home.path.is_dir()
    assert home.path.name == name


def test_a_home_that_is_no_unicode_is_used__S10(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    assert Home.find({"HAPI_HOME": name}).prepare().path.is_dir()


def test_a_relative_home_is_resolved_once__S10(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = Home.find({"HAPI_HOME": "here"})
    monkeypatch.chdir("/")
    assert home.prepare().path == tmp_path / "here"


def test_a_tilde_is_the_home_directory_of_the_user__S10(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.find({"HAPI_HOME": "~/mine"}).path == tmp_path / "mine"
    assert Home.find({"HAPI_HOME": ""}).path == tmp_path / ".hapi"
    assert Home.find({}).path == tmp_path / ".hapi"


def test_a_symlinked_home_is_followed_once__S10(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    home = Home.find({"HAPI_HOME": str(tmp_path / "link")}).prepare()
    (tmp_path / "link").unlink()
    assert home.path == tmp_path / "real"


@pytest.mark.parametrize("name", ["\0", "loop/x", "~nobody-of-that-name/x", "file", "file/below"])
def test_a_home_that_cannot_be_is_refused_in_words__S10(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    named = name if name.startswith("~") else f"{tmp_path}/{name}"
    with pytest.raises(HomeUnusable, match=r"HAPI home .* cannot be used: "):
        Home.find({"HAPI_HOME": named}).prepare()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o701])
def test_an_open_home_of_ours_is_closed_to_others__K05(tmp_path, mode):
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(mode)
    assert Home(tmp_path / "home").prepare().path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_home_of_another_user_is_refused_and_left_alone__K05(tmp_path):
    path = tmp_path / "home"
    path.mkdir(mode=0o777)
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(path, nobody, -1)
    with pytest.raises(HomeUnusable, match=f"uid {nobody}"):
        Home(path).prepare()
    assert path.stat().st_uid == nobody
