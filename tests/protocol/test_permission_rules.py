"""What "allow for session" allows, and what it does not."""

import pytest

from hapi.protocol.acp.updates import ToolCall, read_tool_call
from hapi.protocol.permission_rules import (
    MAX_RULES,
    Action,
    PermissionRule,
    action_of,
    read_rules,
    rules_of,
    with_rules,
)


def shell(command, **more):
    return Action("Shell", "execute", command, **more)


def edit(*paths):
    return Action("Edit", "edit", paths=paths)


FETCH = Action("WebFetch", "fetch")


@pytest.mark.parametrize(
    ("allowed", "asked", "is_allowed"),
    [
        (shell("touch x && echo y"), shell("touch x && echo y"), True),
        (shell("touch x && echo y"), shell("touch x && echo y && rm -rf /"), False),
        (shell("touch x"), shell("touch x && rm -rf /"), False),
        (shell("ls"), shell("ls", directory="/etc"), False),
        (shell("ls", directory="/w"), shell("ls", directory="/w"), True),
        (edit("/w/a"), edit("/w/a"), True),
        (edit("/w/a", "/w/b"), edit("/w/b"), True),
        (edit("/w/a"), edit("/w/a", "/etc/passwd"), False),
        (edit("/w/a"), edit(), False),
        (edit("/w/a"), Action("Edit", "delete", paths=("/w/a",)), False),
        (FETCH, FETCH, True),
        (FETCH, Action("WebSearch", "fetch"), False),
        (Action("mcp__db__query"), Action("mcp__db__query"), True),
        (Action("mcp__db__query"), shell("mcp__db__query"), False),
    ],
)
def test_a_rule_allows_the_same_again_and_nothing_wider(allowed, asked, is_allowed):
    (rule,) = rules_of(allowed, None, "r", 1)
    assert rule.allows(asked) is is_allowed


@pytest.mark.parametrize(
    "action",
    [
        Action("Shell", "execute"),
        Action("Edit files", "edit"),
        Action("Approve plan", "switch_mode"),
        Action("tool"),
        Action("fetch", "fetch"),
        shell("x" * 30_000),
    ],
)
def test_what_no_rule_can_say_narrowly_enough_makes_none(action):
    assert rules_of(action, None, "r", 1) == ()


@pytest.mark.parametrize(
    ("pattern", "asked", "is_allowed"),
    [
        ("Bash(ls -l)", shell("ls -l"), True),
        ("Bash(ls -l)", shell("ls -la"), False),
        ("Bash(a && b)", shell("a && b"), True),
        ("Bash(npm test:*)", shell("npm test"), True),
        ("Bash(npm test:*)", shell("npm test -- --watch"), True),
        ("Bash(npm test:*)", shell("npm testing"), False),
        ("Bash(npm test:*)", shell("npm test; rm -rf /"), False),
        ("Bash(npm test:*)", shell("npm test && rm -rf /"), False),
        ("Bash(npm test:*)", shell("npm test $(rm -rf /)"), False),
        ("Bash(npm test:*)", shell("npm test\nrm -rf /"), False),
        ("Bash(npm test:*)", shell("npm test > /etc/passwd"), False),
        ("Bash(npm test:*)", shell("npm test | sh"), False),
        ("Bash(npm test:*)", shell("npm test & rm x"), False),
        ("Edit", edit("/w/any"), True),
        ("Write", edit("/w/any"), True),
        ("Edit", shell("edit"), False),
        ("Edit", Action("x", "delete", paths=("a",)), False),
        ("mcp__db__query", Action("mcp__db__query", "other"), True),
        ("mcp__db__query", Action("mcp__db__drop", "other"), False),
    ],
)
def test_patterns_of_npm_s_page_are_honoured(pattern, asked, is_allowed):
    (rule,) = rules_of(Action("anything"), (pattern,), "r", 1)
    assert rule.allows(asked) is is_allowed


@pytest.mark.parametrize("pattern", ["Bash(:*)", "Bash()", "Bash(a; b:*)", "Read(./secrets/**)"])
def test_patterns_that_are_too_wide_or_unknown_allow_nothing(pattern):
    assert rules_of(Action("anything"), (pattern,), "r", 1) == ()


@pytest.mark.parametrize("pattern", ["Bash", "Shell"])
def test_the_name_of_a_shell_allows_the_command_that_was_asked_for_only(pattern):
    (rule,) = rules_of(shell("ls"), (pattern,), "r", 1)
    assert rule.allows(shell("ls"))
    assert not rule.allows(shell("rm -rf /"))


def test_an_action_is_read_from_the_input_as_the_agent_gave_it():
    call = read_tool_call(
        {
            "toolCallId": "c",
            "kind": "execute",
            "rawInput": {"command": ["bash", "-lc", "a b"], "cwd": "/w"},
            "locations": [{"path": "/w/a"}],
        }
    )
    assert action_of("T", call) == Action("T", "execute", "bash -lc 'a b'", "/w")


@pytest.mark.parametrize(
    ("kind", "allowed", "asked"),
    [
        ("edit", {"command": "create", "path": "/a"}, {"command": "create", "path": "/etc/passwd"}),
        ("edit", {"command": "create", "path": "/a"}, {"command": "delete", "path": "/a"}),
        ("read", {"command": "view", "path": "/a"}, {"command": "view", "path": "/b"}),
        ("edit", {"path": "a"}, {"path": "a", "target_file": "b"}),
        ("edit", {"path": "a", "cwd": "/w"}, {"path": "a", "cwd": "/etc"}),
        ("move", {"path": "a", "destination": "b"}, {"path": "a", "destination": "/etc/passwd"}),
        ("move", {"path": "a", "destination": "b"}, {"path": "b", "destination": "a"}),
        ("execute", {"command": "git", "args": ["status"]}, {"command": "git", "args": ["push"]}),
        ("execute", {"command": "npm test"}, {"command": "npm test", "unsandboxed": True}),
        ("execute", {"command": "ls", "dir_path": "/a"}, {"command": "ls", "dir_path": "/b"}),
        ("execute", {"command": "x"}, {"command": "x", "cmd": "y"}),
        (None, {"script": "ls"}, {"script": "rm -rf /"}),
        ("other", {"code": "1"}, {"code": "2"}),
        ("fetch", {"url": "http://a"}, {"url": "http://b"}),
    ],
)
def test_a_call_with_another_input_is_another_thing(kind, allowed, asked):
    def action(given):
        return action_of("Tool", ToolCall("c", "Tool", kind, input=given))

    (rule,) = rules_of(action(allowed), None, "r", 1)
    assert rule.allows(action(allowed))
    assert not rule.allows(action(asked))


def test_what_an_edit_writes_and_what_a_command_is_for_make_no_difference():
    def action(kind, **given):
        return action_of("Tool", ToolCall("c", "Tool", kind, input=given))

    (edits,) = rules_of(action("edit", file_path="/a", old_string="1"), None, "r", 1)
    assert edits.allows(action("edit", file_path="/a", old_string="2", new_string="3"))
    (runs,) = rules_of(action("execute", command="ls", description="list"), None, "r", 1)
    assert runs.allows(action("execute", command="ls", description="look", timeout=5))


def test_a_prefix_holds_in_the_directory_in_which_it_was_allowed():
    there = shell("npm test", directory="/w")
    (rule,) = rules_of(there, ("Bash(npm test:*)",), "r", 1)
    assert rule.allows(there)
    assert not rule.allows(shell("npm test", directory="/elsewhere"))


def test_rules_survive_their_json_and_odd_ones_are_left_out():
    rules = rules_of(shell("ls", directory="/w"), None, "a", 7) + rules_of(edit("x"), None, "b", 8)
    stored = [rule.as_json() for rule in rules]
    assert read_rules([*stored, 1, {}, {"id": 3}, {"id": "x", "paths": "no"}]) == rules
    assert read_rules("nonsense") == ()
    assert stored[0] == {
        "id": "a",
        "kind": "execute",
        "command": "ls",
        "directory": "/w",
        "input": "none",
        "createdAt": 7,
    }


def test_a_rule_is_kept_once_and_old_ones_make_room():
    first = rules_of(shell("ls"), None, "a", 1)
    assert with_rules(first, rules_of(shell("ls"), None, "b", 2)) == first
    many = [PermissionRule(str(number), tool=str(number)) for number in range(MAX_RULES + 3)]
    assert with_rules((), many)[0].id == "3"


def test_a_rule_without_anything_to_match_allows_nothing():
    rule = PermissionRule("empty")
    assert not any(rule.allows(action) for action in (shell("ls"), edit("a"), Action("x")))
