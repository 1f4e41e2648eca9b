"""Real agents that run without their makers' servers: the package of each, and how it is told to
ask the scripted model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from tests.support.model_endpoint import opencode_settings
from tests.support.paths import ROOT

PEERS = Path(os.environ.get("HAPI_PEERS") or ROOT / ".cache/peers/node_modules").absolute()
INSTALLED = Path(os.environ.get("HAPI_AGENTS") or ROOT / ".cache/agents").absolute()
WINDOW = 100_000  # tokens of the scripted model's context


@frozen
class RealAgent:
    """One agent. `name` is its flavor at the hub.

    `prepare(home, url)` writes its settings below `home`, the user's directory, so that it asks the
    model at `url`, and returns its environment.
    """

    name: str
    package: str
    version: str
    registry: Literal["npm", "PyPI"]
    program: str
    prepare: Callable[[Path, str], Mapping[str, str]]
    with_test_programs: bool = False  # installed beside the npm programs of the other tests
    needs: tuple[str, ...] = ()  # npm packages whose programs it runs on, such as a newer Node.js
    in_ci: bool = False
    asking_mode: str | None = None  # the mode in which it asks before a command; None: as it starts
    asks: bool = True  # whether it asks before a command at all
    always_allows_all: bool = False  # its "for this session" is for all commands, not for one
    tells_output: bool = True  # whether it tells what a command printed
    question: str = "has no tool"  # "answered", or why the model cannot ask the person
    picture: bool = True  # whether the model is given the pictures of a prompt
    resumes: bool | None = True  # None: not always
    forks: bool = False  # whether it copies its sessions (`session/fork`)
    spawn: Mapping[str, str] = field(factory=dict)  # more of the request that starts a session

    @property
    def home(self) -> Path:
        return PEERS if self.with_test_programs else INSTALLED / self.name

    @property
    def path(self) -> Path:
        """The program itself."""
        if self.with_test_programs:
            return PEERS / ".bin" / self.program
        if self.registry == "npm":
            return self.home / "node_modules/.bin" / self.program
        return self.home / "bin" / self.program

    @property
    def search_path(self) -> list[str]:
        """What goes before PATH."""
        needed = [
            str(self.home / "node_modules" / package.split("@")[0] / "bin")
            for package in self.needs
        ]
        return [*needed, str(self.path.parent)]


def written(path: Path, content: str | Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def claude(home: Path, url: str) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_EXECUTABLE": str(PEERS / ".bin/claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "IS_SANDBOX": "1",  # Claude Code asks for it when it is run by root
    }


def codex(home: Path, url: str) -> dict[str, str]:
    written(
        home / ".codex/config.toml",
        f"""
model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "on-request"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false
[model_providers.scripted]
name = "Scripted"
base_url = "{url}/v1"
wire_api = "responses"
requires_openai_auth = false
[analytics]
enabled = false
""",
    )
    return {}


def opencode(home: Path, url: str) -> dict[str, str]:
    settings = opencode_settings(url)
    settings["permission"] = {"bash": "ask", "edit": "ask"}
    for model in settings["provider"]["scripted"]["models"].values():
        model |= {
            "attachment": True,
            "modalities": {"input": ["text", "image"], "output": ["text"]},
        }
    written(home / ".config/opencode/opencode.json", settings)
    return {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}


def gemini(home: Path, url: str) -> dict[str, str]:
    quiet = {"disableAutoUpdate": True, "enableAutoUpdate": False}
    security = {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}}
    written(
        home / ".gemini/settings.json",
        {
            "security": security,
            "general": quiet,
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
        },
    )
    return {
        "GEMINI_API_KEY": "none",
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }


def qwen(home: Path, url: str) -> dict[str, str]:
    written(
        home / ".qwen/settings.json",
        {
            "security": {"auth": {"selectedType": "openai"}},
            "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            "model": {"name": "plain"},
        },
    )
    return {
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_MODEL": "plain",
        "QWEN_CODE_NO_RELAUNCH": "true",
    }


def copilot(home: Path, url: str) -> dict[str, str]:
    return {
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
        "COPILOT_PROVIDER_API_KEY": "none",
        "COPILOT_MODEL": "plain",
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
    }


def kimi(home: Path, url: str) -> dict[str, str]:
    written(
        home / ".kimi/config.toml",
        f"""
default_model = "plain"
[models.plain]
provider = "scripted"
model = "plain"
max_context_size = {WINDOW}
capabilities = ["thinking", "image_in"]
[providers.scripted]
type = "openai_legacy"
base_url = "{url}/v1"
api_key = "none"
""",
    )
    # It asks for a login of its own even where no server of its maker's is used.
    token = {"access_token": "none", "refresh_token": "", "scope": "", "token_type": "Bearer"}
    token |= {"expires_at": 99_999_999_999, "expires_in": 999_999}
    written(home / ".kimi/credentials/kimi-code.json", token)
    return {"KIMI_CLI_NO_AUTO_UPDATE": "1"}


def vibe(home: Path, url: str) -> dict[str, str]:
    written(
        home / ".vibe/config.toml",
        f"""
active_model = "plain"
enable_update_checks = false
enable_auto_update = false
enable_telemetry = false
[[providers]]
name = "scripted"
api_base = "{url}/v1"
api_key_env_var = "SCRIPTED_KEY"
api_style = "openai"
backend = "generic"
[[models]]
name = "plain"
provider = "scripted"
alias = "plain"
""",
    )
    return {"SCRIPTED_KEY": "none", "MISTRAL_API_KEY": "none"}


def fast_agent(home: Path, url: str) -> dict[str, str]:
    # Without a model it ends: "No model configured".
    return {
        "GENERIC_BASE_URL": f"{url}/v1",
        "GENERIC_API_KEY": "none",
        "FAST_AGENT_MODEL": "generic.plain",
    }


AGENTS = (
    RealAgent(
        "claude",
        "@agentclientprotocol/claude-agent-acp",
        "0.100.0",
        "npm",
        "claude-agent-acp",
        claude,
        with_test_programs=True,
        in_ci=True,
        forks=True,
        question="answered",
    ),
    RealAgent(
        "codex",
        "@agentclientprotocol/codex-acp",
        "2.6.0",
        "npm",
        "codex-acp",
        codex,
        in_ci=True,
        forks=True,
        asking_mode="read-only",
        question="only in its plan mode",
    ),
    RealAgent(
        "opencode",
        "opencode-ai",
        "1.18.33",
        "npm",
        "opencode",
        opencode,
        with_test_programs=True,
        in_ci=True,
        forks=True,
    ),
    RealAgent(
        "gemini",
        "@google/gemini-cli",
        "0.61.0",
        "npm",
        "gemini",
        gemini,
        in_ci=True,
        tells_output=False,
        resumes=None,  # its own session/load may answer "No previous sessions found"
    ),
    RealAgent(
        "qwen",
        "@qwen-code/qwen-code",
        "0.24.4",
        "npm",
        "qwen",
        qwen,
        needs=("node@24",),
        question="answered",
    ),
    RealAgent("copilot", "@github/copilot", "1.0.102", "npm", "copilot", copilot),
    RealAgent("kimi", "kimi-cli", "1.49.0", "PyPI", "kimi", kimi, always_allows_all=True),
    RealAgent("vibe", "mistral-vibe", "3.0.2", "PyPI", "vibe-acp", vibe, picture=False),
    RealAgent(
        "fast-agent",
        "fast-agent-mcp",
        "0.10.48",
        "PyPI",
        "fast-agent",
        fast_agent,
        asks=False,
        tells_output=False,  # it sends no update at the end of a tool call
        picture=False,  # it offers to take pictures and gives a model that it does not know none
    ),
)
