"""The ways in which agents are logged in to, and which of them need no person."""

import pytest

from hapi.protocol.acp.authentication import (
    login_command,
    methods_without_a_person,
    read_auth_methods,
)

CODEX = [
    {"id": "api-key", "name": "API Key", "description": "Use an API key to authenticate"},
    {"id": "chat-gpt", "name": "ChatGPT", "description": "Log in with ChatGPT"},
]
GEMINI = [
    {"id": "oauth-personal", "name": "Log in with Google"},
    {"id": "gemini-api-key", "name": "Gemini API key"},
    {"id": "vertex-ai", "name": "Vertex AI"},
]
AZURE = [
    {
        "id": "azure",
        "name": "Azure",
        "type": "env_var",
        "vars": [{"name": "AZ_KEY"}, {"name": "AZ_URL"}, {"name": "AZ_VERSION", "optional": True}],
    }
]
QWEN = [
    {
        "id": "openai",
        "name": "Use OpenAI API key",
        "description": "Requires setting the `OPENAI_API_KEY` environment variable",
    }
]
STUB = [{"id": "key", "name": "Use the key in the environment"}]


def automatic(methods, environ, named=None):
    found = methods_without_a_person(read_auth_methods(methods), environ, named)
    return [method.id for method in found]


@pytest.mark.parametrize(
    ("methods", "environ", "expected"),
    [
        (CODEX, {"OPENAI_API_KEY": "k"}, ["api-key"]),
        (CODEX, {}, []),
        (GEMINI, {"GEMINI_API_KEY": "k"}, ["gemini-api-key"]),
        (GEMINI, {"OPENAI_API_KEY": "k"}, []),
        (AZURE, {"AZ_KEY": "k", "AZ_URL": "u"}, ["azure"]),
        (AZURE, {"AZ_KEY": "k", "AZ_URL": ""}, []),
        (QWEN, {"OPENAI_API_KEY": "k"}, ["openai"]),
        (QWEN, {"ANTHROPIC_API_KEY": "k"}, []),
        (STUB, {}, ["key"]),
    ],
)
def test_only_a_method_whose_variables_are_set_needs_no_person(methods, environ, expected):
    assert automatic(methods, environ) == expected


def test_the_method_that_the_settings_name_comes_first():
    assert automatic(CODEX, {"OPENAI_API_KEY": "k"}, "chat-gpt") == ["chat-gpt", "api-key"]


@pytest.mark.parametrize(
    ("method", "command"),
    [
        (
            {"id": "t", "type": "terminal", "args": ["--setup"], "env": {"MODE": "a b"}},
            "MODE='a b' /bin/agent acp --setup",
        ),
        ({"id": "t", "_meta": {"type": "terminal", "args": ["--login"]}}, "/bin/agent acp --login"),
        (
            {"id": "t", "_meta": {"terminal-auth": {"command": "claude", "args": ["/login"]}}},
            "claude /login",
        ),
        ({"id": "a", "description": "Run `opencode auth login`"}, "opencode auth login"),
        ({"id": "a", "description": "Set `OPENAI_API_KEY`"}, None),
        ({"id": "a", "name": "Log in with Google"}, None),
    ],
)
def test_the_command_of_a_login_is_the_whole_command_line(method, command):
    (read,) = read_auth_methods([method])
    assert login_command(read, ("/bin/agent", "acp")) == command


def test_entries_that_are_no_methods_are_left_out():
    assert read_auth_methods([None, {}, {"id": 3}, "x"]) == ()
    assert read_auth_methods({"id": "a"}) == ()
