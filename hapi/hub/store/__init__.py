"""What the hub keeps: sessions, machines, messages. `IStore` says what, `SqliteStore` does it in one file."""
