"""The store in a PostgreSQL database, which several hubs may use at the same time.

It is imported only by a hub whose database is one: psycopg is an optional dependency.
"""
