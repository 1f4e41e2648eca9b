"""`hapi doctor` on the hub's certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hapi.cli.checks.tls_check import check_tls, tls_finding
from hapi.hub.options import TlsFiles
from tests.support.tls_authority import Authority


@pytest.fixture
def files(tmp_path):
    made = TlsFiles(*Authority(tmp_path).issue("hub.example", "10.0.0.1", days=90))
    made.key.chmod(0o600)
    return made


def test_nothing_is_said_of_a_hub_without_a_certificate():
    assert check_tls({}, {}) == []


def test_variables_name_the_certificate_that_is_checked(files):
    environ = {"HAPI_TLS_CERT": str(files.certificate), "HAPI_TLS_KEY": str(files.key)}
    (found,) = check_tls(environ, {})
    assert (found.name, found.finding) == ("tls", "good")
    assert "for hub.example, 10.0.0.1, valid until 20" in found.text


@pytest.mark.parametrize(("days", "finding"), [(60, "good"), (80, "note"), (91, "broken")])
def test_a_certificate_that_ends_soon_is_told_beforehand(files, days, finding):
    assert tls_finding(files, datetime.now(UTC) + timedelta(days=days)).finding == finding


def test_a_key_that_everybody_can_read_is_found(files):
    files.key.chmod(0o604)
    found = tls_finding(files, datetime.now(UTC))
    assert found.finding == "broken"
    assert "is accessible to all users" in found.text


def test_a_missing_file_is_found(files):
    files.key.unlink()
    assert tls_finding(files, datetime.now(UTC)).finding == "broken"


def test_a_certificate_without_names_is_found(tmp_path):
    files = TlsFiles(*Authority(tmp_path).issue())
    files.key.chmod(0o600)
    assert "names no host" in tls_finding(files, datetime.now(UTC)).text
