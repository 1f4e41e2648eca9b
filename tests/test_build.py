"""Which build runs: content and version decide, times only wake the look (faults.md H05)."""

import os

import pytest

from hapi.build import Build, Installation, mtime_ms


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "hapi"
    (root / "runner").mkdir(parents=True)
    (root / "__init__.py").write_text('"""It."""\n\n__version__ = "1.2.3"\n')
    (root / "runner" / "main.py").write_text("print(1)\n")
    age(root, 100)
    return root


def age(root, seconds):
    """Give every file a time so many seconds after the epoch."""
    for directory, _names, files in os.walk(root):
        for name in files:
            os.utime(os.path.join(directory, name), (seconds, seconds))


def installation(package):
    return Installation(package, "1.2.3")


def test_an_untouched_package_has_not_changed(package):
    mine = installation(package)
    assert mine.has_changed() is False
    assert mine.running() == mine.installed() == Build("1.2.3", mine.running().digest)


def test_touched_files_with_the_same_content_are_the_same_build__H05(package):
    mine = installation(package)
    assert mine.running() is not None
    age(package, 200)
    assert mine.has_changed() is False


@pytest.mark.parametrize("change", ["byte", "version", "new file", "file gone", "renamed"])
def test_one_changed_byte_is_another_build__H05(package, change):
    mine = installation(package)
    assert mine.running() is not None
    main = package / "runner" / "main.py"
    match change:
        case "byte":
            main.write_text("print(2)\n")
        case "version":
            (package / "__init__.py").write_text('__version__ = "1.2.4"\n')
        case "new file":
            (package / "new.py").write_text("")
        case "file gone":
            main.unlink()
        case "renamed":
            main.rename(package / "runner" / "other.py")
    age(package, 200)
    assert mine.has_changed() is True
    assert mine.installed() != mine.running()


def test_compiled_and_hidden_files_belong_to_no_build(package):
    mine = installation(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    (package / "runner" / ".main.py.swp").write_bytes(b"x")
    assert mine.stamp() == mine.at_start


def test_a_package_changed_before_anybody_asked_is_not_taken_for_the_running_build__H05(package):
    mine = installation(package)
    (package / "runner" / "main.py").write_text("print(2)\n")
    age(package, 200)
    assert mine.running() is None
    assert mine.has_changed() is True


@pytest.mark.parametrize("broken", ["no __init__", "no version", "directory gone"])
def test_a_copy_that_is_still_going_on_is_no_new_build__H01(package, broken):
    mine = installation(package)
    assert mine.running() is not None
    match broken:
        case "no __init__":
            (package / "__init__.py").unlink()
        case "no version":
            (package / "__init__.py").write_text("")
        case "directory gone":
            package.rename(package.with_name("away"))
    assert mine.installed() is None
    assert mine.has_changed() is False


def test_files_are_read_again_only_when_their_times_or_sizes_changed(package, monkeypatch):
    mine = installation(package)
    first = mine.installed()
    monkeypatch.setattr(Installation, "_digest", lambda _self: pytest.fail("read again"))
    assert mine.installed() == first


def test_a_start_reads_no_content(package, monkeypatch):
    monkeypatch.setattr(Installation, "_digest", lambda _self: pytest.fail("read at start"))
    assert installation(package).started_mtime_ms == 100_000.0


def test_milliseconds_are_npms_to_the_last_bit():
    # What node prints for such a file: fs.statSync(path).mtimeMs
    assert mtime_ms(1795173033_250002200) == 1795173033250.0022
    assert repr(mtime_ms(1_795_184_855_594_842_233)) == "1795184855594.8423"
    assert mtime_ms(0) == 0.0
