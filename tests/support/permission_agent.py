"""An ACP agent that asks for permission as the prompt says, while the test watches.

A prompt that is JSON, `{"call": {…}, "options": […], "before": {…}}`, is a permission request;
`before` is an update that comes first. The agent then says which option it got. It repeats any
other prompt.
"""

import json
import sys


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(session, **fields):
    send(method="session/update", params={"sessionId": session, "update": fields})


def say(session, text):
    content = {"type": "text", "text": text}
    update(session, sessionUpdate="agent_message_chunk", content=content)


def ask(session, question):
    if "before" in question:
        update(session, **question["before"])
    asked = {"toolCall": question["call"], "options": question["options"]}
    send(id="ask", method="session/request_permission", params={"sessionId": session, **asked})
    for line in sys.stdin:
        answer = json.loads(line)
        if answer.get("id") == "ask":
            outcome = answer["result"]["outcome"]
            say(session, f"chosen: {outcome.get('optionId', outcome['outcome'])}")
            call_id = question["call"]["toolCallId"]
            update(
                session, sessionUpdate="tool_call_update", toolCallId=call_id, status="completed"
            )
            return outcome["outcome"]
    return "cancelled"


def main():
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        session = (message.get("params") or {}).get("sessionId")
        if method == "initialize":
            capabilities = {"loadSession": True}
            send(id=number, result={"protocolVersion": 1, "agentCapabilities": capabilities})
        elif method == "session/new":
            send(id=number, result={"sessionId": "asking"})
        elif method == "session/load":
            send(id=number, result={})
        elif method == "session/prompt":
            text = message["params"]["prompt"][0]["text"]
            outcome = "selected"
            if text.startswith("{"):
                outcome = ask(session, json.loads(text))
            else:
                say(session, f"heard: {text}")
            stop = "cancelled" if outcome == "cancelled" else "end_turn"
            send(id=number, result={"stopReason": stop})
        elif number is not None:
            send(id=number, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
