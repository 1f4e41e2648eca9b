"""An agent on the public `agent-client-protocol` package, as its users write them; a test partner
for our driver."""

import asyncio
import os

import acp
from acp import schema


class Partner(acp.Agent):
    """Streams, thinks, plans, asks before a tool call, remembers nothing."""

    def on_connect(self, conn):
        self._client, self._cancelled = conn, asyncio.Event()

    async def initialize(
        self, protocol_version, client_capabilities=None, client_info=None, **more
    ):
        info = schema.Implementation(name="partner", version="1")
        return acp.InitializeResponse(
            protocol_version=1,
            agent_capabilities=schema.AgentCapabilities(load_session=True),
            agent_info=info,
        )

    async def new_session(self, cwd, mcp_servers=None, **more):
        modes = schema.SessionModeState(
            current_mode_id="ask",
            available_modes=[
                schema.SessionMode(id="ask", name="Ask"),
                schema.SessionMode(id="plan", name="Plan"),
            ],
        )
        return acp.NewSessionResponse(
            session_id=f"partner:{os.environ.get('HAPI_SESSION_ID', '')}", modes=modes
        )

    async def load_session(self, cwd, session_id, mcp_servers=None, **more):
        await self._client.session_update(session_id, acp.update_agent_message_text("replayed"))
        return acp.LoadSessionResponse()

    async def set_session_mode(self, session_id, mode_id, **more):
        await self._client.session_update(
            session_id,
            schema.CurrentModeUpdate(session_update="current_mode_update", current_mode_id=mode_id),
        )
        return schema.SetSessionModeResponse()

    async def cancel(self, session_id, **more):
        self._cancelled.set()

    async def prompt(self, prompt, session_id, **more):
        text = prompt[0].text
        self._cancelled.clear()
        if "die" in text:
            os._exit(7)
        if "wait" in text:
            await self._client.session_update(session_id, acp.update_agent_message_text("waiting"))
            await self._cancelled.wait()
            return acp.PromptResponse(stop_reason="cancelled")
        await self._client.session_update(session_id, acp.update_agent_thought_text("hm"))
        await self._client.session_update(
            session_id,
            acp.update_plan([acp.plan_entry("do", priority="high", status="in_progress")]),
        )
        await self._client.session_update(
            session_id,
            acp.start_tool_call(
                "call-1", "Touch", kind="edit", status="pending", raw_input={"path": "x"}
            ),
        )
        options = [
            schema.PermissionOption(option_id="yes", kind="allow_once", name="Yes"),
            schema.PermissionOption(option_id="no", kind="reject_once", name="No"),
        ]
        call = schema.ToolCallUpdate(tool_call_id="call-1", title="Touch", raw_input={"path": "x"})
        answer = await self._client.request_permission(
            options=options, session_id=session_id, tool_call=call
        )
        chosen = getattr(answer.outcome, "option_id", "cancelled")
        status = "completed" if chosen == "yes" else "failed"
        await self._client.session_update(
            session_id,
            acp.update_tool_call("call-1", status=status, raw_output=f"chosen: {chosen}"),
        )
        await self._client.session_update(
            session_id, acp.update_agent_message_text(f"You said {text}")
        )
        return acp.PromptResponse(stop_reason="end_turn")


asyncio.run(acp.run_agent(Partner()))
