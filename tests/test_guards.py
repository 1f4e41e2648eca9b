"""The guards of conftest.py catch what they are there for."""

from pathlib import Path

import pytest

from hapi.home import Home

HERE = Path(__file__).parent
CONFTEST = (
    (HERE / "conftest.py").read_text().replace("Path(__file__).parent", f"Path({str(HERE)!r})")
)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.replace('pytest_plugins = ["pytester"]', ""))
    return pytester


def test_each_guard_fails_the_test_that_deserves_it__K01_K02(suite):
    suite.makepyfile("""
        import pytest
        from twisted.internet.defer import Deferred, fail
        from twisted.logger import Logger

        def test_unhandled_deferred():
            fail(ValueError("nobody looks at me"))

        def test_taken(logged_failures):
            try:
                raise KeyError("seen")
            except KeyError:
                Logger().failure("expected")
            assert len(logged_failures.take(KeyError)) == 1

        def test_timer(reactor):
            reactor.callLater(60, print)

        def test_quick_timer(reactor):
            reactor.callLater(0.01, int)

        @pytest.mark.leaves_timers("shows the way out")
        def test_allowed(reactor):
            reactor.callLater(60, print)

        def test_token(tmp_path, canary):
            (tmp_path / "settings.json").write_text(canary)
            (tmp_path / "npm-home").mkdir()
            (tmp_path / "npm-home" / "log").write_text(canary)
            (tmp_path / "our.log").write_text("Bearer " + canary)

        def test_program(stage, canary):
            talker = stage.start("talker", ["sh", "-c", "echo $WORD"], {"WORD": canary})
            assert talker.exit_code() == 0

        def test_command_line(stage, canary):
            stage.start("shower", ["sh", "-c", "sleep 60", "x", canary])
    """)
    result = suite.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=8, errors=3)
    result.stdout.fnmatch_lines(
        ["*nobody looks at me*", "*delayed calls left behind*", "*command line*", "*K02*"]
    )
    result.stdout.fnmatch_lines_random(["*our.log", "*talker.log"])
    assert "npm-home" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_missing_peer_skips_here_and_fails_in_ci(suite, monkeypatch):
    suite.makepyfile("""
        import pytest

        @pytest.mark.peer("hapi")
        def test_peer():
            raise RuntimeError("never reached")
    """)
    monkeypatch.setenv("HAPI_PEERS", "/nonexistent")
    monkeypatch.setenv("CI", "")
    suite.makeini("[pytest]\nmarkers = peer: needs peers\naddopts = -rs")
    result = suite.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*make peers*"])
    monkeypatch.setenv("CI", "true")
    suite.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(errors=1)


def test_a_home_is_fresh_and_private(home: Home):
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert list(home.path.iterdir()) == []


def test_a_tests_environment_keeps_how_much_to_test_and_nothing_else_of_ours(suite, monkeypatch):
    monkeypatch.setenv("HAPI_FAULTS", "release")
    monkeypatch.setenv("HAPI_API_URL", "http://hub.of.the.developer")
    suite.makepyfile("""
        import os

        AT_IMPORT = os.environ.get("HAPI_FAULTS"), os.environ.get("HAPI_API_URL")

        def test_it(home):
            assert AT_IMPORT == ("release", None)
            assert (os.environ.get("HAPI_FAULTS"), os.environ.get("HAPI_API_URL")) == AT_IMPORT
    """)
    suite.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
