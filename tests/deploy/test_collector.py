"""The Collector's configuration, as far as it goes without a Collector: its form, and that the attributes it asks for exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from llmtrace import semconv

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "collector"
CONFIG = FOLDER / "config.yaml"
DOCS = FOLDER.parents[1] / "docs" / "how_to/fleet_verdicts.md"

# What the processors and connectors used take at their top, and what a policy of tail sampling may be, by the documentation of
# opentelemetry-collector-contrib.
MEMBERS = {
    "memory_limiter": {"check_interval", "limit_mib", "spike_limit_mib", "limit_percentage", "spike_limit_percentage"},
    "tail_sampling": {"decision_wait", "num_traces", "expected_new_traces_per_sec", "decision_cache", "policies"},
    "batch": {"send_batch_size", "send_batch_max_size", "timeout"},
    "spanmetrics": {"namespace", "histogram", "dimensions", "exemplars", "metrics_flush_interval", "exclude_dimensions"},
}
POLICIES = {
    "always_sample",
    "latency",
    "probabilistic",
    "status_code",
    "string_attribute",
    "boolean_attribute",
    "ottl_condition",
}


def read(name: str) -> Any:
    return importlib.import_module("yaml").safe_load((FOLDER / name).read_text())


@pytest.fixture
def config() -> Any:
    return read("config.yaml")


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_every_pipeline_is_made_of_what_is_defined_and_nothing_is_left_over(name: str) -> None:
    """A Collector refuses to start with a component that is not defined, and a connector needs both ends."""
    config = {"connectors": {}, "processors": {}, **read(name)}
    used: dict[str, set[str]] = {"receivers": set(), "processors": set(), "exporters": set()}
    for pipeline_name, pipeline in config["service"]["pipelines"].items():
        assert pipeline_name.partition("/")[0] in ("traces", "metrics")
        assert pipeline["receivers"]
        assert pipeline["exporters"]
        for kind, names in pipeline.items():
            used[kind] |= set(names)
    connectors = set(config["connectors"])
    assert used["receivers"] == set(config["receivers"]) | connectors
    assert used["exporters"] == set(config["exporters"]) | connectors
    assert used["processors"] == set(config["processors"])
    for kind in ("processors", "connectors"):
        for component, members in config[kind].items():
            assert set(members) <= MEMBERS[component]


def test_a_trace_goes_to_one_worker_and_from_it_to_the_receiver_beside_it() -> None:
    """Routed by trace id; the worker's exporter and the command in the docs name the same port."""
    balancer = read("gateway.yaml")["exporters"]["loadbalancing"]
    assert balancer["routing_key"] == "traceID"
    assert set(balancer) == {"routing_key", "protocol", "resolver"}
    (port,) = {host.rpartition(":")[2] for host in balancer["resolver"]["static"]["hostnames"]}
    worker = read("worker.yaml")
    assert worker["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == f"0.0.0.0:{port}"
    endpoint = worker["exporters"]["otlphttp/llmtrace"]["endpoint"]
    commands = re.findall(
        r"llmtrace receive --http-port (\d+) .*--forward", DOCS.read_text() + (FOLDER / "worker.yaml").read_text()
    )
    assert len(commands) >= 2
    assert {f"http://127.0.0.1:{port}" for port in commands} == {endpoint}


def test_every_run_in_bad_health_is_kept(config: Any) -> None:
    """By the attributes that the outermost span of a run has."""
    policies = {policy["name"]: policy for policy in config["processors"]["tail_sampling"]["policies"]}
    assert policies["bad-health"]["string_attribute"] == {"key": semconv.HEALTH, "values": ["failed", "suspect", "recovered"]}
    assert policies["suspects"]["boolean_attribute"] == {"key": semconv.SUSPECT, "value": True}
    assert set(config["service"]["pipelines"]["traces/kept"]["exporters"]) == {"otlp/jaeger", "otlp/tempo"}
    assert config["service"]["pipelines"]["metrics"]["exporters"] == ["prometheus"]


def test_sampling_comes_after_the_spans_were_counted_and_before_they_are_batched(config: Any) -> None:
    pipelines = config["service"]["pipelines"]
    counted = [one for one in pipelines.values() if "spanmetrics" in one["exporters"]]
    assert counted
    assert not any("tail_sampling" in one["processors"] for one in counted)
    (kept,) = [one["processors"] for one in pipelines.values() if "tail_sampling" in one.get("processors", ())]
    assert kept[0] == "memory_limiter"
    assert kept.index("tail_sampling") < kept.index("batch")


def test_policies_ask_for_attributes_that_spans_have(config: Any) -> None:
    """Each policy is of a known type, with that type's own settings; each attribute is one that llmtrace writes or reads."""
    known = {held for held in vars(semconv).values() if isinstance(held, str)}
    policies = config["processors"]["tail_sampling"]["policies"]
    for policy in policies:
        assert policy["type"] in POLICIES
        assert set(policy) == {"name", "type", policy["type"]}
    assert len({policy["name"] for policy in policies}) == len(policies)
    asked = set(re.findall(r'attributes\["([^"]+)"\]|key: ([\w.]+)', CONFIG.read_text()))
    named = {one or other for one, other in asked} | {one["name"] for one in config["connectors"]["spanmetrics"]["dimensions"]}
    assert len(named) > 8
    assert named <= known
