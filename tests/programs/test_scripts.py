"""The scripts of docs/scripts.md, run as they stand there, with the demo agent."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

from tests.support.paths import ROOT
from tests.support.peers import OURS, Cast, User
from tests.support.programs import CANARY
from tests.support.work_repository import WorkRepository

pytestmark = pytest.mark.program
MANUAL = ROOT / "docs/scripts.md"


@frozen
class Job:
    """A machine that runs scripts, and the hub that they use."""

    cast: Cast
    user: User
    environment: dict[str, str]

    @property
    def project(self) -> Path:
        return self.cast.directory("project")

    def write(self, name: str) -> Path:
        """The script of the manual that is marked with `name`."""
        found = re.search(
            rf"<!-- tried: {name} -->\n```sh\n(.*?)```", MANUAL.read_text(), re.DOTALL
        )
        assert found is not None
        script = self.cast.path / f"{name}.sh"
        script.write_text(found[1])
        script.chmod(0o755)
        return script

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in argv],
            env=self.environment,
            cwd=self.project,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.fixture
def job(on_stage, tmp_path):
    cast: Cast = on_stage(Cast(tmp_path / "stage", token=CANARY))
    _, user = cast.hub(OURS)
    home = cast.home(OURS, "runner")
    (home / "settings.json").write_text('{"defaultAgent": "demo"}')
    executable = Path(cast.executable(OURS))
    environment = {
        **cast.base,
        **cast.settings(user, home, ""),
        "PATH": f"{executable.parent}:{cast.base['PATH']}",
    }
    return Job(cast, user, environment)


def test_the_job_for_cron_writes_the_answer_and_ends_its_session(job):
    job.cast.runner(OURS, job.user)
    done = job.run(job.write("cron"), job.project)
    assert done.returncode == 0, done
    assert "In plan mode I only plan" in (job.project / "morning.md").read_text()
    [session] = job.user.sessions()
    job.user.archived(session["id"])


def test_the_job_for_ci_denies_what_is_asked_and_keeps_the_conversation(job):
    repository = WorkRepository.make(job.project)
    repository.write("file", "run: ls -a\n")
    repository.git("add", "file")
    repository.git("commit", "-q", "-m", "Add a file")
    done = job.run(job.write("ci"))
    assert done.returncode == 0, done
    assert "Request denied" in done.stdout
    assert "Runner stopped" in done.stdout
    assert "Then I leave `ls -a` alone." in (job.project / "review.md").read_text()
    conversation = (job.project / "conversation.md").read_text()
    assert "Review this change" in conversation
    assert "+run: ls -a" in conversation
    [session] = job.user.sessions()
    job.user.archived(session["id"])
