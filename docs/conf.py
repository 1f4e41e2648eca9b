"""Sphinx: the documentation of HAPI for Twisted, written in MyST Markdown."""

from hapi import __version__

project = "HAPI for Twisted"
author = "the HAPI for Twisted authors"
release = version = __version__
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples"]
html_theme = "alabaster"
html_theme_options = {
    "description": "Run AI coding agents on your machines and steer them from a browser or a phone"
}
html_static_path: list[str] = []
