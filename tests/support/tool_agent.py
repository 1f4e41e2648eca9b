"""An ACP agent that uses the MCP servers it is offered.

A prompt is JSON: `{"tool", "arguments"}` calls a tool and says the text of its result;
`{"method", "params"}` calls another method and says the result as JSON; `{"updates": [...]}` sends
updates. A prompt of another kind is repeated.
"""

import json
import os
import subprocess
import sys


class Server:
    """An MCP server that was offered, as an agent starts it."""

    def __init__(self, offered):
        environment = {item["name"]: item["value"] for item in offered["env"]}
        self.process = subprocess.Popen(
            [offered["command"], *offered["args"]],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.count = 0
        self.introduction = self.call(
            "initialize",
            {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "test"}},
        )
        self.write(method="notifications/initialized")

    def write(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def call(self, method, params):
        self.count += 1
        self.write(id=self.count, method=method, params=params)
        answer = json.loads(self.process.stdout.readline())
        assert answer["id"] == self.count
        return answer.get("result") or {"error": answer["error"]}


servers = []


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer_of(text):
    """What to say to a prompt."""
    try:
        asked = json.loads(text)
    except ValueError:
        return f"You said {text}"
    if "tool" in asked:
        result = servers[0].call(
            "tools/call", {"name": asked["tool"], "arguments": asked["arguments"]}
        )
        if "error" in result:
            return json.dumps(result)
        failed = "failed: " if result["isError"] else ""
        return failed + result["content"][0]["text"]
    if asked.get("method") == "initialize":
        return json.dumps(servers[0].introduction)
    return json.dumps(servers[0].call(asked["method"], asked.get("params", {})))


def main():
    for line in sys.stdin:
        message = json.loads(line)
        method, number, params = message.get("method"), message.get("id"), message.get("params")
        if number is None:
            continue
        result = {}
        if method == "initialize":
            result = {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}
        elif method in ("session/new", "session/load"):
            if os.environ.get("REFUSES_SERVERS") and params["mcpServers"]:
                send(id=number, error={"code": -32602, "message": "mcpServers: not supported"})
                continue
            servers[:] = [Server(offered) for offered in params["mcpServers"]]
            result = {"sessionId": params.get("sessionId", "tools-1")}
        elif method == "session/prompt":
            text, session = params["prompt"][0]["text"], params["sessionId"]
            try:
                said = json.loads(text)["updates"]
            except (ValueError, KeyError, TypeError):
                said = [
                    {
                        "sessionUpdate": "agent_message_chunk",
                        "content": {"type": "text", "text": answer_of(text)},
                    }
                ]
            for one in said:
                send(method="session/update", params={"sessionId": session, "update": one})
            result = {"stopReason": "end_turn"}
        send(id=number, result=result)


main()
