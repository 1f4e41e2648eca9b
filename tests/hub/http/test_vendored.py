"""The files of other projects that the page uses: listed, unchanged, licensed, read when needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hapi.hub.http.page_build import PageBuilds, VendoredFiles
from hapi.hub.http.static import PAGES

VENDOR = PAGES / "vendor"
PACKAGES: list[dict[str, Any]] = json.loads((VENDOR / "list.json").read_text())
LICENCES = {"MIT", "BSD-3-Clause", "ISC", "Apache-2.0"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package["title"]))
def test_a_vendored_package_has_a_version_an_origin_a_free_licence_and_its_text(package):
    assert package["version"][0].isdigit()
    assert package["origin"].startswith("https://www.npmjs.com/package/")
    assert package["licence"] in LICENCES
    assert (VENDOR / package["directory"] / "LICENSE").stat().st_size > 500


def test_the_list_names_each_vendored_file_with_its_hash_and_nothing_else():
    listed = {
        f"{package['directory']}/{path}": file["sha256"]
        for package in PACKAGES
        for path, file in package["files"].items()
    }
    there = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "list.json"
    }
    assert there == listed


def write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_a_vendored_file_is_served_as_it_was_listed_or_not_at_all(tmp_path):
    hashes = {name: write(tmp_path / name, b"  // kept\n") for name in ("vendor/a.js", "vendor/b")}
    files = VendoredFiles(str(tmp_path), hashes)
    assert files["vendor/a.js"].content == b"  // kept\n"
    write(tmp_path / "vendor/a.js", b"other")
    assert files["vendor/a.js"].content == b"  // kept\n"
    write(tmp_path / "vendor/b", b"other")
    assert files.get("vendor/b") is None
    assert files.get("vendor/c") is None
    (tmp_path / "vendor/b").unlink()
    assert files.get("vendor/b") is None


def test_another_version_of_a_vendored_file_makes_another_build(tmp_path):
    def listed(content: bytes) -> str:
        sha256 = write(tmp_path / "vendor/a/x.js", content)
        packages = [{"directory": "a", "files": {"x.js": {"sha256": sha256}}}]
        write(tmp_path / "vendor/list.json", json.dumps(packages).encode())
        return builds.current().name

    write(tmp_path / "index.html", b"<head></head>")
    builds = PageBuilds(str(tmp_path))
    first, second = listed(b"1"), listed(b"22")
    assert first != second
    assert builds.current().files["vendor/a/x.js"].content == b"22"
    old = builds.named(first)
    assert old is not None
    assert old.files.get("vendor/a/x.js") is None


def test_the_list_itself_and_files_that_it_does_not_name_are_not_served(tmp_path):
    write(tmp_path / "index.html", b"<head></head>")
    write(tmp_path / "vendor/list.json", b"[]")
    write(tmp_path / "vendor/b/y.js", b"1")
    assert set(PageBuilds(str(tmp_path)).current().files) == set()
