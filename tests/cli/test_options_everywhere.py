"""Each setting has a flag, a variable, a key of settings.json, an option of twistd, and a place in
the documentation: one table."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click
import pytest

from hapi.cli.app import hapi as root
from hapi.cli.checks.settings_check import settings_problems

# flag: variable, key, and a value of the key that doctor must refuse. "": there is none, because …
HUB = {
    "--host": ("HAPI_LISTEN_HOST", "listenHost", 5),
    "--port": ("HAPI_LISTEN_PORT", "listenPort", "x"),
    "--public-url": ("HAPI_PUBLIC_URL", "publicUrl", "nonsense"),
    "--tls-cert": ("HAPI_TLS_CERT", "tlsCert", 5),
    "--tls-key": ("HAPI_TLS_KEY", "tlsKey", 5),
    "--cors-origin": ("CORS_ORIGINS", "corsOrigins", 5),
    "--allowed-host": ("HAPI_ALLOWED_HOSTS", "allowedHosts", 5),
    "--trusted-proxy": ("HAPI_TRUSTED_PROXIES", "trustedProxies", ["nowhere"]),
    "--base-path": ("HAPI_BASE_PATH", "basePath", "hapi"),
    "--web-root": ("HAPI_WEB_ROOT", "webRoot", 5),
    "--database": ("HAPI_DATABASE", "database", 5),
    "--name": ("HAPI_HUB_NAME", "hubName", "a b"),
    "--advertise": ("HAPI_ADVERTISE", "advertise", "nonsense"),
    "--drain-seconds": ("HAPI_DRAIN_SECONDS", "drainSeconds", 601),
    "--keep-sessions": ("HAPI_KEEP_SESSIONS", "keepSessions", "x"),
    "--vapid-subject": ("VAPID_SUBJECT", "vapidSubject", "nobody"),
    "--push-private-addresses": (
        *("HAPI_PUSH_PRIVATE_ADDRESSES", "pushPrivateAddresses"),
        "perhaps",
    ),
    "--notify-proxy": ("HAPI_NOTIFY_PROXY", "notifyProxy", "ftp://x"),
    "--telegram-api": ("HAPI_TELEGRAM_API", "telegramApi", "nowhere"),
    "--telegram-notification": ("TELEGRAM_NOTIFICATION", "telegramNotification", "perhaps"),
    "--git-actions": ("HAPI_GIT_ACTIONS", "gitActions", "perhaps"),
    "--max-database-size": ("HAPI_MAX_DATABASE_SIZE", "maxDatabaseSize", "x"),
}
RUNNER = {
    "--workspace-root": ("", "workspaceRoots", 5),  # a variable would be inherited by sessions
    "--session-command": ("HAPI_CLI_EXECUTABLE", "", None),  # npm's programs have no key for it
    "--session-memory": ("HAPI_RUNNER_SESSION_MEMORY", "sessionMemory", "x"),
    "--max-sessions": ("HAPI_RUNNER_MAX_SESSIONS", "maxSessions", "x"),
    "--min-free-memory": ("HAPI_RUNNER_MIN_FREE_MEMORY", "minFreeMemory", "x"),
    "--queue": ("HAPI_RUNNER_QUEUE", "spawnQueue", "x"),
    "--idle-agent": ("HAPI_IDLE_AGENT", "idleAgent", "x"),
    "--git-actions": ("HAPI_GIT_ACTIONS", "gitActions", "perhaps"),
    "--terminal": ("HAPI_TERMINAL", "terminal", "perhaps"),
    "--revive": ("HAPI_RUNNER_REVIVE", "revive", "x"),
}
# Programs in the foreground; twistd has --logger for it.
FOREGROUND = {"--log-format": ("HAPI_LOG_FORMAT", "logFormat", "x")}
UP = {"--tunnel": ("HAPI_TUNNEL", "tunnel", "a-mole")}
EVERYTHING = {**HUB, **RUNNER, **FOREGROUND, **UP}
# What configures one run of a command, not the program.
OF_ONE_RUN = {"--json", "--qr", "--no-qr", "--relay", "--no-relay", "--help", "-h"}


def options_of(*words: str) -> dict[str, click.Option]:
    command: click.Command = root
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    options = [each for each in command.params if isinstance(each, click.Option)]
    return {opt: each for each in options for opt in (*each.opts, *each.secondary_opts)}


def twistd_options(module: str) -> set[str]:
    names = import_module(module).Options().longOpt
    return {f"--{name.rstrip('=')}" for name in names}


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (("hub",), HUB | FOREGROUND),
        (("up",), EVERYTHING),
        (("runner",), RUNNER),
        (("runner", "start"), RUNNER),
        (("runner", "start-sync"), RUNNER | FOREGROUND),
        (("runner", "install-service"), RUNNER),
        (("hub", "install-service"), HUB),
    ],
)
def test_each_command_that_starts_a_program_has_all_its_options(words, flags):
    assert set(flags) <= set(options_of(*words))


@pytest.mark.parametrize(("words", "flags"), [(("hub",), HUB | FOREGROUND), (("up",), EVERYTHING)])
def test_the_table_names_every_option(words, flags):
    assert set(options_of(*words)) - OF_ONE_RUN - {"--home"} == set(flags)


@pytest.mark.parametrize(("module", "flags"), [("hapi.hub.tap", HUB), ("hapi.runner.tap", RUNNER)])
def test_twistd_has_the_same_options(module, flags):
    assert {*flags, "--home"} <= twistd_options(module)


@pytest.mark.parametrize("flag", EVERYTHING)
def test_help_and_documentation_name_variable_and_key(flag, pytestconfig):
    variable, key, _ = EVERYTHING[flag]
    text = (pytestconfig.rootpath / "docs/operating.md").read_text()
    assert f"`{flag}" in text
    assert not variable or f"`{variable}`" in text
    assert not key or f"`{key}`" in text
    assert not variable or f"[env: {variable};" in (options_of("up")[flag].help or "")


@pytest.mark.parametrize("flag", [flag for flag, (_, key, _) in EVERYTHING.items() if key])
def test_doctor_checks_the_key(flag, tmp_path):
    _, key, wrong = EVERYTHING[flag]
    assert any(key in sentence for sentence in settings_problems({key: wrong}))


@pytest.mark.parametrize(("flag", "attribute"), [("database", "database"), ("web", "web_root")])
def test_the_settings_name_the_database_and_the_page(flag, attribute, home, tmp_path):
    from hapi.hub.options import HubOptions

    key = {"database": "database", "web": "webRoot"}[flag]
    home.settings.write_text(f'{{"{key}": "{tmp_path}"}}')
    options = HubOptions.from_environment({"HAPI_HOME": str(home.path)})
    assert getattr(options, attribute) == Path(tmp_path)


def leaves(words=(), command=root):
    if not isinstance(command, click.Group):
        yield words, command
        return
    if words:
        yield words, command
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from leaves((*words, name), command.get_command(context, name))


# They act on no home: what they print is the same for all, or a session starts them.
WITHOUT_HOME = {("completion",), ("mcp",), ("help",)}


@pytest.mark.parametrize(("words", "command"), list(leaves()), ids=str)
def test_every_command_takes_the_home_before_and_after_its_verb(words, command):
    names = {opt for each in command.params for opt in each.opts}
    assert ("--home" in names) is (words not in WITHOUT_HOME)
