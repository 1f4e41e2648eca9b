"""Proof: hubs lose nothing, double nothing and keep the order while they or their database fail.

`python -m tests.growth` starts hubs behind HAProxy, real links of sessions and runners, readers of
the event stream, and draws faults from a seed. See `--help`.
"""
