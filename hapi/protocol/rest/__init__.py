"""Replies of the hub's REST API by subject, as JSON objects: with the keys that stand there, and
possibly with further ones. Times are milliseconds since the epoch.
"""
