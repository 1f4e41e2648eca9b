"""The `twistd` commands of HAPI. Modules are named as text, so that `twistd --help` loads none of
them.
"""

from twisted.application.service import ServiceMaker

hapi_runner = ServiceMaker(
    "HAPI runner",
    "hapi.runner.tap",
    "The runner of this machine: starts and tracks agent sessions.",
    "hapi-runner",
)
hapi_hub = ServiceMaker(
    "HAPI hub", "hapi.hub.tap", "The hub: REST, Socket.IO, SSE, database and web page.", "hapi-hub"
)
