"""The hub's REST API on the wire: bodies of requests, and replies by subject. A reply has the keys
that stand there, and possibly further ones. Times are milliseconds since the epoch.
"""
