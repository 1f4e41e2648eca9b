"""Reads the text format of Prometheus in tests."""

from __future__ import annotations


def figures(text: str) -> dict[str, float]:
    """Each sample by its name and labels, as they are written."""
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line and not line.startswith("#")
    }


def families(text: str) -> set[str]:
    """The names of the samples, without labels."""
    return {sample.partition("{")[0] for sample in figures(text)}
