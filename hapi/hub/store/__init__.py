"""The store of the hub for sessions, machines and messages: `IStore`, implemented by `SqliteStore`
in one file.
"""
