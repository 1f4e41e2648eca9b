"""What the command line understands, and the sentence it has for what it does not."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from hapi import __version__
from hapi.__main__ import OWN_FLAGS, VERBS
from hapi.cli.app import COMMAND_MODULES
from hapi.cli.app import hapi as root
from hapi.cli.base.dropped_flags import dropped_flags
from hapi.cli.base.errors import (
    _EXIT_CODES,
    _HINTS,
    EXIT_CODE_MEANINGS,
    CommandError,
    KnownFailure,
    known_failure,
)
from hapi.cli.base.flags import RunnerFlags, parse_flags
from hapi.cli.base.output import mask_token
from hapi.home import Home, HomeUnusable
from hapi.net.common.errors import HubRefused
from hapi.runner import RunnerOptions
from hapi.settings import ConfigurationError, InvalidSettings, read_settings
from tests.support.paths import ROOT


def run(*words, stdin="", **environ):
    return CliRunner(env=environ).invoke(root, words, input=stdin, prog_name="hapi")


def test_the_version_is_told():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"hapi {__version__}\n")


def test_the_fast_way_knows_every_verb():
    assert set(COMMAND_MODULES) <= VERBS
    assert "--version" in OWN_FLAGS


@pytest.mark.parametrize("verb", [(), *[(name,) for name in COMMAND_MODULES]], ids=" ".join)
def test_every_verb_has_help(verb):
    result = run(*verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: hapi")


def every_command():
    """(words of a command, the command) for the root and everything below it."""

    def below(words, command):
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                yield from below((*words, name), command.get_command(context, name))

    return list(below((), root))


@pytest.mark.parametrize(("words", "command"), every_command(), ids=str)
def test_help_at_80_columns_cuts_nothing(words, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("help", *words).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage:")]
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            short = command.get_command(click.Context(command), name).short_help
            visible = name != "help"
            assert [line.split(None, 1) for line in lines].count([name, short]) == visible


@pytest.mark.parametrize(("words", "command"), every_command(), ids=str)
def test_every_option_says_what_it_does(words, command):
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not (option.help or "").strip()] == []
    unfinished = [option.name for option in options if option.help.rstrip()[-1] not in ".]"]
    assert unfinished == []


def test_help_names_the_variable_and_the_default_of_every_setting():
    texts = {option.opts[0]: option.help for _, each in every_command() for option in each.params
             if isinstance(option, click.Option) and "[env: " in option.help}  # fmt: skip
    assert len(texts) >= 14
    assert [name for name, text in texts.items() if "; default: " not in text] == []


def test_every_error_class_in_the_table_exists():
    for name in (*_EXIT_CODES, *_HINTS):
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(import_module(module), kind), Exception)


def test_a_runner_in_the_foreground_loads_no_click():
    modules = "hapi.cli.runner.foreground, hapi.cli.base.process_host"
    code = f"import sys, {modules}; print('click' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_module_tells_the_version_of_the_package():
    command = [sys.executable, "-m", "hapi", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"hapi {__version__}\n"


@pytest.mark.parametrize("verb", ["runner", "auth"])
def test_a_verb_that_wants_another_word_shows_its_help(verb):
    result = run(verb)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == run(verb, "--help").stdout == run("help", verb).stdout


SERVING = {"up": (3, 4), "hub": (3,), "runner start-sync": (3, 4, 75)}
FURTHER = {
    "runner start": (3, 6, 7), "runner restart": (3, 5),
    "auth login": (3, 6, 7), "auth status": (6, 7), "auth logout": (),
    **dict.fromkeys(["runner status", "runner list", "runner stop-session", "runner drain"], (5,)),
    **dict.fromkeys(["runner resume", "runner revive"], (5,)),
    **dict.fromkeys(["runner stop", "runner logs", "runner events", "runner install-service"], ()),
    "hub install-service": (),
    **dict.fromkeys(["doctor", "doctor clean", "completion", "hub backup", "mcp"], ()),
    "hub compact": (3,), "hub migrate": (3,), "attach": (6, 7),
    "hub status": (5, 6, 7), "hub audit": (),
    **dict.fromkeys([f"auth token {verb}" for verb in ("create", "list", "revoke")], (6, 7)),
    **dict.fromkeys(["sessions list", "sessions show", "sessions tail", "sessions watch"], (6, 7)),
    **dict.fromkeys([f"sessions {verb}" for verb in ("new", "send", "wait")], (6, 7, 8, 9, 10, 11)),
    **dict.fromkeys(["sessions approve", "sessions deny", "sessions stop"], (6, 7)),
    **dict.fromkeys(["sessions archive", "sessions delete", "sessions answer"], (6, 7)),
    "sessions reopen": (6, 7), "resume": (6, 7), "ping-peer": (), "inspect-peer": (),
    **dict.fromkeys(["sessions search", "sessions export", "sessions share"], (6, 7)),
}  # fmt: skip


@pytest.mark.parametrize("verb", [*SERVING, *FURTHER])
def test_help_names_all_exit_codes(verb):
    shown = run(*verb.split(), "--help").stdout.partition("Exit codes:\n")[2]
    codes = {int(line.split()[0]) for line in shown.splitlines() if line.strip()}
    assert codes == {0, 1, 2, *(SERVING[verb] if verb in SERVING else (*FURTHER[verb], 130))}


def test_no_verb_is_left_out():
    from hapi.cli.app import hapi

    def verbs(group, before=()):
        for name in group.list_commands(None):
            command = group.get_command(click.Context(group), name)
            yield " ".join((*before, name))
            if isinstance(command, click.Group):
                yield from verbs(command, (*before, name))

    assert set(verbs(hapi)) - {"runner", "auth", "auth token", "sessions", "help"} == {
        *SERVING,
        *FURTHER,
    }


def test_the_documentation_has_the_same_exit_codes(pytestconfig):
    text = (pytestconfig.rootpath / "docs/operating.md").read_text()
    for code, meaning in EXIT_CODE_MEANINGS.items():
        assert f"| {code} | {meaning}" in text


def test_the_readme_shows_the_embedding_example_that_is_run(pytestconfig):
    shown = (
        (pytestconfig.rootpath / "README.md")
        .read_text()
        .partition("```python\n")[2]
        .partition("```")[0]
    )
    assert shown in (pytestconfig.rootpath / "docs/examples/embed.py").read_text()


@pytest.mark.parametrize(
    ("words", "sentence", "verb"),
    [
        (
            "hub --port 99999",
            "Invalid value for '--port': 99999 is not in the range 0<=x<=65535.",
            "hub",
        ),
        (
            "hub --port nine",
            "Invalid value for '--port': 'nine' is not a valid integer range.",
            "hub",
        ),
        ("up --nonsense", "No such option '--nonsense'.", "up"),
        (
            "runner start --wait half",
            "Invalid value for '--wait': 'half' is not one of 'full', 'api-only'.",
            "runner start",
        ),
        (
            "completion",
            "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish.",
            "completion",
        ),
        (
            "completion tcsh",
            "Invalid value for '{bash|zsh|fish}': 'tcsh' is not one of 'bash', 'zsh', 'fish'.",
            "completion",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(words, sentence, verb):
    result = run(*words.split())
    told = f"hapi: {sentence} Try `hapi {verb} --help`.\n"
    assert (result.exit_code, result.stderr, result.stdout) == (2, told, "")


def test_escape_codes_in_an_argument_do_not_reach_the_terminal__K03():
    result = run("hub", "--port", "\x1b[31m\n9")
    assert "\x1b" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_session_id_is_required():
    result = run("runner", "stop-session")
    assert (result.exit_code, result.stderr) == (
        2,
        "hapi: which session? `hapi runner list` shows the ids\n",
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_hapi(shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_HAPI_COMPLETE={shell}_complete" in result.stdout


def test_completion_offers_verbs_and_agents(home):
    complete = {
        "COMP_WORDS": "hapi ",
        "COMP_CWORD": "1",
        "_HAPI_COMPLETE": "bash_complete",
        "HAPI_HOME": str(home.path),
    }
    words = {line.partition(",")[2] for line in run(**complete).stdout.splitlines()}
    assert {"up", "runner", "doctor", "demo"} <= words


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("start-sync", RunnerFlags()),
        ("--workspace-root /a start-sync --workspace-root=/b", RunnerFlags(("/a", "/b"))),
        ("start-sync --session-command /usr/bin/hapi", RunnerFlags((), "/usr/bin/hapi")),
        (
            "start-sync --max-sessions 3 --queue=2",
            RunnerFlags(more={"max_sessions": "3", "queue": "2"}),
        ),
        ("--workspace-root start-sync", None),  # its value is missing: click says so
        ("start-sync --help", None),
        ("start-sync start-sync", None),
        ("--workspace-root /a", None),
        ("status", None),
    ],
)
def test_the_fast_way_reads_known_flags_and_leaves_the_rest(words, flags):
    assert parse_flags(words.split(), "start-sync") == flags


def test_flags_become_the_words_they_came_from():
    flags = RunnerFlags(
        ("/a", "/b c"), "/usr/bin/hapi --x", {"max_sessions": "3", "min_free_memory": "1G"}
    )
    assert parse_flags([*flags.words(), "start-sync"], "start-sync") == flags


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (CommandError("words", 5), 5),
        (HomeUnusable("/x", "why"), 1),
        (InvalidSettings("broken"), 1),
        (ConfigurationError("no token"), 1),
    ],
)
def test_known_failures_have_a_sentence_and_a_code(error, exit_code):
    failure = known_failure(error)
    assert failure is not None
    assert (failure.sentence, failure.exit_code) == (str(error), exit_code)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "the hub refused the access token ({}); run `hapi auth login`"),
        (403, "the access token does not allow this ({})"),
    ],
)
def test_only_a_wrong_token_is_told_to_log_in(status, sentence):
    error = HubRefused(status, "why")
    failure = known_failure(error)
    assert failure == KnownFailure(sentence.format(error), 7)


@pytest.mark.parametrize("error", [ValueError("bug"), KeyError("x"), None])
def test_what_nobody_foresaw_keeps_its_traceback(error):
    assert known_failure(error) is None


@pytest.mark.parametrize(
    ("token", "shown"),
    [("short", "…"), ("0123456789abcdef", "…cdef"), ("0123456789abcdef:team", "…cdef:team")],
)
def test_a_token_is_shown_by_its_end_only__K02(token, shown):
    assert mask_token(token) == shown


def test_login_keeps_the_token_private_and_the_other_keys(home):
    home.settings.write_text('{"machineId": "m", "unknown": [1]}')
    result = run(
        "auth",
        "login",
        "--no-check",
        "--url",
        "https://hub.example.com/",
        stdin="s3cret-token-1234\n",
        HAPI_HOME=str(home.path),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Token …1234 for https://hub.example.com saved in {home.settings}\n"
    kept = {
        "machineId": "m",
        "unknown": [1],
        "cliApiToken": "s3cret-token-1234",
        "apiUrl": "https://hub.example.com",
    }
    assert read_settings(home) == kept
    assert home.settings.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "stdin", "code", "sentence"),
    [
        ("--url http://hub/path", "token\n", 2, "must be an origin alone"),
        ("--url nonsense", "token\n", 2, "must look like http"),
        ("", "\n", 2, "the access token is empty"),
        ("", "a:\n", 2, "the access token has nothing on one side of its last colon"),
        ("", "a: b\n", 2, "the namespace of the access token has white space around it"),
        ("", "a:b\x07\n", 2, "the namespace of the access token contains characters that cannot"),
    ],
)
def test_login_refuses_what_cannot_be_used(home, words, stdin, code, sentence):
    result = run(
        "auth", "login", "--no-check", *words.split(), stdin=stdin, HAPI_HOME=str(home.path)
    )
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert not home.settings.exists()


def test_login_takes_the_line_break_off_a_token_with_a_namespace(home):
    result = run(
        "auth", "login", "--no-check", stdin="secret-secret:team\n", HAPI_HOME=str(home.path)
    )
    assert result.exit_code == 0
    assert read_settings(home)["cliApiToken"] == "secret-secret:team"


def test_a_saved_token_with_an_odd_namespace_is_one_sentence(home):
    home.settings.write_text(json.dumps({"cliApiToken": "secret:a\x00"}))
    result = run("auth", "status", "--no-check", HAPI_HOME=str(home.path))
    assert result.stderr == (
        "hapi: CLI_API_TOKEN, cliApiToken in settings.json: the namespace of the access token "
        "contains characters that cannot be printed\n"
    )


def test_logout_removes_the_token_and_nothing_else(home):
    home.settings.write_text(json.dumps({"cliApiToken": "x" * 20, "machineId": "m"}))
    assert (
        run("auth", "logout", HAPI_HOME=str(home.path)).stdout
        == f"Token removed from {home.settings}\n"
    )
    assert read_settings(home) == {"machineId": "m"}
    assert (
        run("auth", "logout", HAPI_HOME=str(home.path)).stdout
        == f"There is no token in {home.settings}\n"
    )


def test_status_without_a_token_says_what_to_do(home):
    result = run("auth", "status", "--no-check", HAPI_HOME=str(home.path))
    assert (result.exit_code, result.stderr) == (
        1,
        "hapi: no access token: run `hapi auth login`, or `hapi up` if no hub runs here yet\n",
    )


def test_status_tells_where_things_come_from(home):
    home.settings.write_text(
        json.dumps({"cliApiToken": "0123456789abcdef:team", "apiUrl": "http://hub:1"})
    )
    result = run("auth", "status", "--no-check", "--json", HAPI_HOME=str(home.path))
    told = json.loads(result.stdout)
    assert (told["hub"], told["hubFrom"]) == ("http://hub:1", "apiUrl in settings.json")
    assert (told["token"], told["tokenFrom"]) == ("…cdef:team", "cliApiToken in settings.json")


def test_corrupt_settings_are_one_sentence_with_line_and_column(home):
    home.settings.write_text('{"cliApiToken": "x",\n  oops}')
    result = run("auth", "status", "--no-check", HAPI_HOME=str(home.path))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"hapi: {home.settings}: ")
    assert "line 2, column 3" in result.stderr
    assert home.settings.read_text() == '{"cliApiToken": "x",\n  oops}'


def test_the_newest_runner_log_is_named(home):
    from hapi.cli.commands.runner.logs import find_newest_log

    assert find_newest_log(home) is None
    logs = home.directory("logs")
    for name in (
        "2026-01-01-00-00-00-pid-7-runner.log",
        "2026-01-02-00-00-00-pid-8-runner.log",
        "2026-01-03-00-00-00-pid-9-hub.log",
    ):
        (logs / name).touch()
    assert find_newest_log(home) == logs / "2026-01-02-00-00-00-pid-8-runner.log"
    home.runner_state.write_text(
        json.dumps(
            {
                "pid": 7,
                "httpPort": 1,
                "runnerLogPath": str(logs / "2026-01-01-00-00-00-pid-7-runner.log"),
            }
        )
    )
    assert find_newest_log(home) == logs / "2026-01-01-00-00-00-pid-7-runner.log"
    home.runner_state.write_text("torn {")
    assert find_newest_log(Home(home.path)) == logs / "2026-01-02-00-00-00-pid-8-runner.log"


def options_of(home, *flags, settings=None):
    home.prepare()
    home.settings.write_text(json.dumps(settings or {}))
    given = parse_flags([*flags, "start-sync"], "start-sync").given()
    return RunnerOptions.from_environment(
        {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": "x" * 12}, **given
    )


@pytest.mark.parametrize(
    ("now", "settings", "lost"),
    [
        ((), {}, "--workspace-root / --max-sessions 2"),
        (("--max-sessions", "3"), {}, "--workspace-root / --max-sessions 2"),
        (("--workspace-root", "/", "--max-sessions=2"), {}, ""),
        ((), {"workspaceRoots": ["/"], "maxSessions": 2}, ""),
        (("--max-sessions", "2"), {"workspaceRoots": ["/tmp"]}, "--workspace-root /"),
    ],
)
def test_flags_that_the_runner_before_had_and_the_next_has_not_are_named(home, now, settings, lost):
    before = options_of(home, "--workspace-root", "/", "--max-sessions", "2").argv
    assert dropped_flags(before, options_of(home, *now, settings=settings)) == lost


@pytest.mark.parametrize("argv", [(), ("up",), ("runner", "start", "--of-another-make")])
def test_what_another_program_ran_with_is_no_lost_flag(home, argv):
    assert dropped_flags(argv, options_of(home)) == ""


def test_roots_of_the_settings_hold_for_every_start_and_a_flag_wins(home):
    assert options_of(home, settings={"workspaceRoots": ["/"]}).workspace_roots == ("/",)
    assert options_of(
        home, "--workspace-root", "/tmp", settings={"workspaceRoots": ["/"]}
    ).workspace_roots == ("/tmp",)


@pytest.mark.parametrize("kept", ["/", ["here"], [5], ["/no/such/place"]])
def test_roots_of_the_settings_that_make_no_sense_start_nothing(home, kept):
    with pytest.raises(ConfigurationError, match=r"workspaceRoots in settings\.json"):
        options_of(home, settings={"workspaceRoots": kept})


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--max-sessions", "x"),
        ("--max-sessions", "-3"),
        ("--min-free-memory", "2Q"),
        ("--revive", "foo"),
        ("--queue", "q"),
    ],
)
def test_a_flag_whose_value_is_none_is_wrong_usage(home, flag, value):
    result = run("runner", "start", flag, value, HAPI_HOME=str(home.path), CLI_API_TOKEN="x" * 12)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"hapi: {flag} ")


@pytest.mark.parametrize(
    "words",
    [
        ["--advertise", "10.0.0.5"],
        ["--advertise", "http://10.0.0.5:3006"],  # without a database in PostgreSQL
        ["--name", "a b"],
        ["--name", "a"],
        ["--drain-seconds", "601"],
        ["--drain-seconds", "5"],  # without --advertise
        ["--public-url", "nonsense"],
        ["--cors-origin", "nonsense"],
        ["--base-path", "hapi"],
        ["--web-root", "/nowhere"],
        ["--database", "postgresql://["],
        ["--keep-sessions", "x"],
    ],
)
def test_an_option_of_the_hub_that_is_invalid_is_wrong_usage(home, words):
    result = run("hub", *words, HAPI_HOME=str(home.path), CLI_API_TOKEN="x" * 12)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("hapi: ")
    assert words[0] in result.stderr
    assert not (home.path / "hub.db").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"revive": 3}, "revive in settings.json is 3: it must be offer or auto"),
        ({"apiUrl": "ftp://x/y"}, "apiUrl in settings.json: hub URL 'ftp://x/y' must look like"),
        ({"minFreeMemory": "zwei"}, "minFreeMemory in settings.json 'zwei': it must be"),
    ],
)
def test_a_setting_that_starts_nothing_is_named_with_its_file(home, settings, says):
    with pytest.raises(ConfigurationError) as told:
        options_of(home, settings=settings)
    assert str(told.value).startswith(says)


def test_a_full_disk_is_one_sentence_and_status_1():
    full = known_failure(OSError(errno.ENOSPC, "No space left on device", "/home/settings.json"))
    assert full == KnownFailure("cannot write /home/settings.json: No space left on device", 1)
    assert known_failure(OSError(errno.EBADF, "Bad file descriptor")) is None


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("def (broken", "SyntaxError: invalid syntax"),
        ("import klein_of_tomorrow", "ModuleNotFoundError: No module named"),
    ],
)
def test_an_installation_that_does_not_load_is_one_sentence(tmp_path, line, what):
    shutil.copytree(ROOT / "hapi", tmp_path / "hapi", ignore=shutil.ignore_patterns("pages"))
    broken = tmp_path / "hapi/runner/__init__.py"
    broken.write_text(f"{broken.read_text()}\n{line}\n")
    command = [sys.executable, "-P", "-m", "hapi", "runner", "status"]
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "HAPI_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [sentence] = done.stderr.splitlines()
    assert what in sentence
    assert f"({broken}, line " in sentence
    assert "Install hapi-runner again" in sentence
