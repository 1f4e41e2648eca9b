"""Repositories whose configuration names programs wherever git's manual lets it.

Each program is `trap KEY`, which leaves a file called KEY in the directory of markers and passes
its input on. What git ran is what lies there.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

from attrs import define

from hapi.session.rpc.git_directory import format_settings

HOOKS = (
    *("applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit"),
    *("prepare-commit-msg", "commit-msg", "post-commit", "pre-rebase", "post-checkout"),
    *("post-merge", "pre-push", "pre-receive", "update", "proc-receive", "post-receive"),
    *("post-update", "reference-transaction", "push-to-checkout", "pre-auto-gc", "post-rewrite"),
    *("sendemail-validate", "fsmonitor-watchman", "post-index-change"),
)
ATTRIBUTES = "* filter=evil diff=evil merge=evil\n"
FILTERS = ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process")
# Every key of git-config(1) whose value git gives to a shell or runs as a program.
PROGRAM_KEYS = (
    *FILTERS,
    *("core.fsmonitor", "core.sshCommand", "core.editor", "core.pager", "core.gitProxy"),
    *("core.askPass", "core.alternateRefsCommand", "credential.helper", "sequence.editor"),
    *("credential.https://example.org.helper", "diff.external", "diff.evil.command"),
    *("diff.evil.textconv", "merge.evil.driver", "merge.evil.recursive", "gpg.program"),
    *("gpg.openpgp.program", "gpg.x509.program", "gpg.ssh.program", "gpg.ssh.defaultKeyCommand"),
    *("uploadpack.packObjectsHook", "interactive.diffFilter", "trailer.evil.command"),
    *("trailer.evil.cmd", "remote.origin.uploadpack", "remote.origin.receivepack"),
    *("difftool.evil.cmd", "difftool.evil.path", "mergetool.evil.cmd", "mergetool.evil.path"),
    *("guitool.evil.cmd", "browser.evil.cmd", "browser.evil.path", "man.evil.cmd"),
    *("man.evil.path", "sendemail.sendmailCmd", "sendemail.toCmd", "sendemail.ccCmd"),
    *("sendemail.smtpServer", "imap.tunnel", "instaweb.httpd", "web.browser", "tar.evil.command"),
    *("init.templateDir", "receive.procReceiveRefs", "hasconfig.evil", "lfs.customtransfer.e.path"),
    *("lfs.extension.evil.clean", "pager.status", "pager.diff", "pager.config", "pager.rev-parse"),
)
COMMANDS = ("status", "diff", "config", "rev-parse", "worktree", "symbolic-ref", "submodule")
OTHER_KEYS = {
    "filter.evil.required": "true",
    "diff.tool": "evil",
    "diff.submodule": "diff",
    "diff.ignoreSubmodules": "none",
    "status.submoduleSummary": "true",
    "submodule.recurse": "true",
    "submodule.fetchJobs": "4",
    "log.showSignature": "true",
    "merge.verifySignatures": "true",
    "commit.gpgSign": "true",
    "protocol.allow": "always",
    "protocol.ext.allow": "always",
    "safe.bareRepository": "all",
    "core.untrackedCache": "true",
    "maintenance.auto": "true",
    "gc.auto": "1",
}


@define
class Traps:
    """Where the programs are and what they leave."""

    root: Path

    def __attrs_post_init__(self) -> None:
        self.markers.mkdir(parents=True, exist_ok=True)
        self.script("trap", '"$(echo "$1" | tr / _)"', copies="$1")

    @property
    def markers(self) -> Path:
        return self.root / "markers"

    @property
    def program(self) -> Path:
        return self.root / "trap"

    def command(self, key: str) -> str:
        """A command for a shell."""
        return f"{self.program} {key}"

    def script(self, name: str, marker: str = "", copies: str = "") -> Path:
        """A program without arguments. What filters and converts passes its input on."""
        program = self.root / name
        program.write_text(
            f"#!/bin/sh\ntouch {shlex.quote(str(self.markers))}/{marker or name}\n"
            f'case "{copies}" in *clean | *smudge | *textconv) cat ;; esac\n'
        )
        program.chmod(0o755)
        return program

    @property
    def sprung(self) -> set[str]:
        return {path.name for path in self.markers.iterdir()}

    def reset(self) -> None:
        for path in self.markers.iterdir():
            path.unlink()


def git(directory: Path, *words: str) -> str:
    """Git as a person runs it who trusts the repository."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ("-c", "user.name=n", "-c", "user.email=e", "-c", "protocol.file.allow=always")
    return subprocess.run(
        ["git", "-C", directory, *identity, *words],
        check=True,
        capture_output=True,
        text=True,
        env={**clean, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        timeout=30,
    ).stdout


def make_repository(path: Path) -> Path:
    """A repository with a committed file, in a new directory."""
    path.mkdir(parents=True)
    return initialize(path)


def initialize(path: Path) -> Path:
    """Make the directory at `path` a repository with a committed file."""
    git(path, "init", "-q", "-b", "main")
    (path / "file.txt").write_text("committed\n")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "first")
    return path


def change(path: Path) -> None:
    """Something to see in the repository at `path`: a staged file, a changed one, a new one."""
    (path / "staged.txt").write_text("staged\n")
    git(path, "add", "staged.txt")
    (path / "file.txt").write_text("changed\n")
    (path / "new.txt").write_text("new\n")


def git_directory(path: Path) -> Path:
    return Path(git(path, "rev-parse", "--absolute-git-dir").strip())


def set_keys(path: Path, settings: Iterable[tuple[str, str]], *where: str) -> None:
    for key, value in settings:
        git(path, "config", *where, key, value)


def set_traps(path: Path, traps: Traps, way: str = "config") -> None:
    """Name a program in every key, hook and attribute of the repository at `path`.

    `way`: the keys are in the repository's `config`, in a file that it `include`s, or in its
    `worktree` configuration.
    """
    directory = git_directory(path)
    for hook in HOOKS:
        program = directory / "hooks" / hook
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\nexec {traps.command(f'hook-{hook}')} </dev/null\n")
        program.chmod(0o755)
    (path / ".gitattributes").write_text(ATTRIBUTES)
    (directory / "info").mkdir(exist_ok=True)
    (directory / "info/attributes").write_text(ATTRIBUTES)
    settings = [(key, traps.command(key)) for key in PROGRAM_KEYS]
    settings += [(f"alias.{name}", f"!{traps.command(f'alias.{name}')}") for name in COMMANDS]
    settings += [("core.hooksPath", str(directory / "hooks")), *OTHER_KEYS.items()]
    settings += [("remote.origin.url", f"ext::{traps.command('ext')}")]
    settings += [("url.ext::sh.insteadOf", "https://")]
    settings += [("submodule.inner.update", f"!{traps.command('submodule.update')}")]
    if way == "worktree":
        git(path, "config", "extensions.worktreeConfig", "true")
        git(path, "config", "--worktree", "core.bare", "false")
    if way == "include":
        git(path, "config", f"includeIf.gitdir:{directory.parent}/.path", "included")
    name = {"config": "config", "include": "included", "worktree": "config.worktree"}[way]
    with (directory / name).open("a") as file:  # from now on every plain git runs programs
        file.write(format_settings(settings))
