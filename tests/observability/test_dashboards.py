"""Dashboards and alerts are PromQL that parses, and name only metrics and labels that processes export."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Metric

from tests.observability.conftest import with_samples
from wanimage import exposition, metrics

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
COUNTED_ELSEWHERE = {"wan_jobs_shed_total", "wan_blob_errors_total", "wan_enhanced_total"}
"""Their labels are known once it happens: see test_counts.py, tests/unit/test_metrics.py and the enhancer's
tests, of which none runs here."""
ADDED_BY_PROMETHEUS = {"instance", "job", "le"}


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, with where it stands; Grafana's variables filled in."""
    for path in sorted(FOLDER.glob("grafana/dashboards/*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                text = re.sub(r"\$__(rate_interval|range)", "5m", target["expr"])
                yield f"{path.stem}: {panel['title']}", text.replace("$tenant", ".*")
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def declared() -> list[Metric]:
    """Every family of `wanimage.metrics` and of the queues, without a bus."""
    queues = exposition.Queues.__new__(exposition.Queues)
    return [*metrics.REGISTRY.collect(), *queues.describe()]


def names_of(families: list[Metric]) -> set[str]:
    """As Prometheus stores them."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + end for family in families for end in suffixes.get(family.type, ("",))}


@pytest.mark.parametrize(("where", "text"), list(expressions()), ids=lambda value: value[:40])
def test_query_parses(where: str, text: str) -> None:
    assert promql_parser.parse(text) is not None


def test_every_metric_of_a_query_is_exported_by_a_process(scraped: list[Metric]) -> None:
    exported, named = names_of(scraped), set[str]()
    for where, text in expressions():
        found = set(re.findall(r"\b(?:wan|process)_\w+", text))
        assert found <= exported, where
        named |= found
    assert len(named) > 30


def test_every_label_of_a_query_is_exported_with_its_metric() -> None:
    labels = {name: set(getattr(each, "_labelnames", ())) for name, each in by_name().items()}
    for where, text in expressions():
        named = set(re.findall(r"\bwan_\w+", text))
        known = ADDED_BY_PROMETHEUS.union(*(labels[name] for name in named))
        for clause in re.findall(r"(?:by|on|ignoring|group_left) \(([\w, ]+)\)", text):
            assert {each.strip() for each in clause.split(",")} <= known, where
        for name, matchers in re.findall(r"(\bwan_\w+)\{([^}]+)\}", text):
            assert set(re.findall(r"(\w+)\s*=~?", matchers)) <= labels[name] | ADDED_BY_PROMETHEUS, where


def by_name() -> dict[str, Any]:
    """Every stored name to what declared it."""
    found: dict[str, Any] = {
        name: collector for collector, names in metrics.REGISTRY._collector_to_names.items() for name in names
    }
    queues = exposition.Queues.__new__(exposition.Queues)
    return found | {family.name: family for family in queues.describe()}


def test_every_metric_has_values_after_a_turn(scraped: list[Metric]) -> None:
    ours = {family.name + ("_total" if family.type == "counter" else "") for family in declared()}
    ours = {name for name in ours if name.startswith("wan_")}
    assert ours - with_samples(scraped) - COUNTED_ELSEWHERE == set()
    assert len(ours) > 30


@pytest.mark.parametrize(
    "family", [each for each in declared() if each.name.startswith("wan_")], ids=lambda family: family.name
)
def test_metric_follows_the_naming_rules_and_is_documented(family: Metric) -> None:
    name = family.name + ("_total" if family.type == "counter" else "")
    assert f"`{name}`" in (ROOT / "docs" / "observability.md").read_text()
    assert re.fullmatch(r"wan_[a-z_]+", name)
    assert family.documentation.endswith(".")
    if family.type == "histogram":
        assert name.endswith(("_seconds", "_size"))


def test_alerts_say_how_bad_it_is_and_what_to_do() -> None:
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "warn"), rule
            assert {"summary", "action"} <= rule["annotations"].keys(), rule


def test_panels_do_not_overlap_and_have_unique_ids() -> None:
    for path in FOLDER.glob("grafana/dashboards/*.json"):
        panels = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells = [
            (x, y)
            for panel in panels
            for at in [panel["gridPos"]]
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(cells)) == len(cells), path
        assert max(x for x, _ in cells) < 24, path


def test_compose_profile_mounts_files_that_exist_and_scrapes_every_service() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"][
        0
    ]
    ours = {name for name, each in COMPOSE["services"].items() if "build" in each}
    assert set(scraped["names"]) == ours
    for name in ours:
        assert COMPOSE["services"][name]["environment"]["WAN_METRICS_PORT"] == scraped["port"]
    watchers = [each for each in COMPOSE["services"].values() if each.get("profiles") == ["observability"]]
    assert len(watchers) == 3
    for each in watchers:
        for volume in each.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).exists(), volume
