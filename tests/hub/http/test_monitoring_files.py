"""The dashboard, the alert rules and the table of figures name what hub and runner really have."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from twisted.internet.defer import Deferred

from hapi.hub.cluster.peer_calls import PeerClient
from hapi.hub.cluster.peer_hubs import OtherHubs
from hapi.hub.cluster.signatures import Signer
from hapi.hub.domain.errors import RpcError
from hapi.hub.http.standby_metrics import StandbyFigures, StandbyMetrics
from hapi.runner.control.metrics import Metrics
from tests.support.cluster_stage import ClusterStage
from tests.support.hub_stage import TOKEN
from tests.support.hub_wire import HubWire
from tests.support.metrics_text import families, figures
from tests.support.paths import ROOT
from tests.support.runner_figures import FiguresRunner

FILES = ROOT / "docs/monitoring"
NAME = re.compile(r"\b((?:hapi_(?:hub|runner)|process)_[a-z_]+)")
GIVEN_BY_PROMETHEUS = {"up"}


def hub_text() -> str:
    wire = HubWire()
    call = Deferred.fromCoroutine(wire.stage.registry.rpc.call("m1", "path-exists"))
    call.addErrback(lambda failure: failure.trap(RpcError))
    wire.ask("GET", "/health")
    return wire.ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).body


def cluster_text() -> str:
    hub = ClusterStage("a").hubs[0]
    hub.registry.rpc.peers = OtherHubs(
        hub.cluster, PeerClient(hub.clock, Signer(b"key", "a", hub.now))
    )
    hub.registry.peers.statistics.is_reachable = True
    hub.registry.peers.statistics.reached = {"b": True}
    given = {"Authorization": f"Bearer {TOKEN}"}
    return str(hub.rest("GET", "/metrics", namespace=None, **given).body)


def standby_text() -> str:
    return StandbyMetrics().text(StandbyFigures(1.0, True, 2)).decode()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [hub_text(), cluster_text(), standby_text(), Metrics(FiguresRunner()).text().decode()]


@pytest.fixture(scope="module")
def known(texts) -> set[str]:
    return families("\n".join(texts))


def dashboard() -> dict:
    return json.loads((FILES / "grafana-hapi.json").read_text())


def expressions() -> list[str]:
    """All of the dashboard, and those of the rules as text."""
    of_panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    rules = (FILES / "hapi-rules.yml").read_text()
    return [*of_panels, *re.findall(r"expr: (?:\|\n)?(.*?)(?=\n +(?:for|labels):)", rules, re.S)]


def test_each_figure_that_the_dashboard_and_the_rules_name_exists(known):
    found = expressions()
    assert len(found) > 40
    for expression in found:
        names = set(NAME.findall(expression)) or set(re.findall(r"^\w+", expression))
        assert names, expression
        assert names <= known | GIVEN_BY_PROMETHEUS, expression


def test_each_label_that_is_asked_for_exists(texts):
    samples = list(figures("\n".join(texts)))
    for expression in expressions():
        for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers)) - {"job", "instance"}
            has = {
                label
                for sample in samples
                if sample.startswith(f"{name}{{")
                for label in re.findall(r'(\w+)="', sample)
            }
            assert asked <= has, expression


def test_the_values_of_states_and_results_that_are_asked_for_exist(texts):
    samples = "\n".join(texts)
    for expression in expressions():
        for label, value in re.findall(r'\b(state|phase|outcome)="([^"]+)"', expression):
            assert f'{label}="{value}"' in samples, expression


def test_the_table_of_the_documentation_is_complete(known):
    text = (ROOT / "docs/monitoring.md").read_text()
    named = set(NAME.findall(text))
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    assert bases - named - {"process_"} == set()
    assert {name for name in named if name.startswith("hapi")} - bases == set()


def test_the_dashboard_shows_how_the_hubs_of_a_database_work_together():
    shown = set(NAME.findall(json.dumps(dashboard())))
    assert shown >= {
        "hapi_hub_members_up",
        "hapi_hub_journal_lag_seconds",
        "hapi_hub_homes",
        "hapi_hub_forwarded_requests_total",
    }
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_panels_of_the_dashboard_do_not_overlap():
    taken = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.peer("promtool")
def test_prometheus_accepts_the_rules_and_the_configuration(tmp_path):
    for name in ("hapi-rules.yml", "prometheus.yml"):
        text = (FILES / name).read_text().replace("/etc/prometheus/hapi-token", "token")
        (tmp_path / name).write_text(text)
    (tmp_path / "token").write_text(TOKEN)
    for what in (["rules", "hapi-rules.yml"], ["config", "prometheus.yml"]):
        checked = subprocess.run(
            ["promtool", "check", *what], cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.peer("promtool")
def test_prometheus_accepts_the_figures(texts):
    for text in texts:
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_job_of_the_rules_is_one_of_the_scrape_configuration():
    jobs = set(re.findall(r'job="([^"]+)"', (FILES / "hapi-rules.yml").read_text()))
    configured = re.findall(r"job_name: (\S+)", (FILES / "prometheus.yml").read_text())
    assert jobs <= set(configured)
