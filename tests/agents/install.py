"""Install the real agents of the tests: `python -m tests.agents.install DIRECTORY [NAME …]`.

Each gets a directory of its own. Without names: those that CI runs; `all`: every one.

What cannot be had is said; the tests of that agent are then skipped on a user's machine and fail
when CI=true.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.support.real_agents import AGENTS, RealAgent

INSTALL_TIMEOUT = 900  # seconds for one agent


def install(agent: RealAgent, directory: Path) -> str | None:
    """Install the agent below `directory`; why it could not be installed, or None."""
    home = directory / agent.name
    marker, wanted = home / ".installed", f"{agent.package} {agent.version} {agent.needs}\n"
    if marker.exists() and marker.read_text() == wanted:
        return None
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    print(f"agents: installing {agent.package} {agent.version} in {home}", file=sys.stderr)
    if agent.registry == "npm":
        program = shutil.which("npm")
        if program is None:
            return "npm is not installed"
        packages = [f"{agent.package}@{agent.version}", *agent.needs]
        options = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        command = [program, "install", "--prefix", str(home), *options, *packages]
    else:
        venv.create(home, with_pip=True)
        command = [str(home / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        command.append(f"{agent.package}=={agent.version}")
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"the installation took more than {INSTALL_TIMEOUT} seconds"
    if done.returncode != 0:
        return "\n".join((done.stdout + done.stderr).decode(errors="replace").splitlines()[-5:])
    marker.write_text(wanted)
    return None


def main(arguments: list[str]) -> int:
    directory, names = Path(arguments[0]).absolute(), arguments[1:]
    unknown = set(names) - {agent.name for agent in AGENTS} - {"all"}
    if unknown:
        print(f"agents: there is no agent named {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    for agent in AGENTS:
        is_wanted = agent.name in names or names == ["all"] or (not names and agent.in_ci)
        if is_wanted and not agent.with_test_programs:
            problem = install(agent, directory)
            if problem is not None:
                print(f"agents: {agent.name} could not be installed: {problem}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
