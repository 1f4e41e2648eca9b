"""The Model Context Protocol, as far as our server speaks it.

https://modelcontextprotocol.io/specification/2025-06-18, on `hapi.protocol.jsonrpc`.
"""
