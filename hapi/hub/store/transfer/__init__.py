"""Moving a hub's data between a file of SQLite and a database in PostgreSQL, while no hub runs."""
