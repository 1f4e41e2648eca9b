"""The Agent Client Protocol: what agents send in JSON-RPC, as values.

Version 1 of https://agentclientprotocol.com; we are the client. Unknown keys and kinds are ignored,
so that an agent of a later version still works.
"""
