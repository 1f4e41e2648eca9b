"""HAPI on Twisted: run AI coding agents on your machines, steer them from a browser or a phone."""

__version__ = "0.2.0"
