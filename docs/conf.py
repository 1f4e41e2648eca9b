"""Sphinx: the documentation of HAPI for Twisted, written in MyST Markdown."""

from pathlib import Path

from hapi import __version__

project = "HAPI for Twisted"
author = "the HAPI for Twisted authors"
release = version = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["toc.empty_glob"]
exclude_patterns = ["_build", "examples"]
if not (Path(__file__).parent / "walkthrough.md").exists():
    exclude_patterns.append("walkthrough.md")
html_theme = "alabaster"
html_theme_options = {"description": "Run AI coding agents on your machines and steer them from a browser or a phone"}
html_static_path: list[str] = []
