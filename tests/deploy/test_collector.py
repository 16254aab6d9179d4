"""The Collector's configuration, as far as it goes without a Collector: its form, and that the attributes it asks for exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from llmtrace import semconv

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "collector" / "config.yaml"

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


@pytest.fixture
def config() -> Any:
    return importlib.import_module("yaml").safe_load(CONFIG.read_text())


def test_every_pipeline_is_made_of_what_is_defined_and_nothing_is_left_over(config: Any) -> None:
    """A Collector refuses to start with a component that is not defined, and a connector needs both ends."""
    used: dict[str, set[str]] = {"receivers": set(), "processors": set(), "exporters": set()}
    for name, pipeline in config["service"]["pipelines"].items():
        assert name.partition("/")[0] in ("traces", "metrics")
        assert pipeline["receivers"]
        assert pipeline["exporters"]
        for kind, names in pipeline.items():
            used[kind] |= set(names)
    connectors = set(config["connectors"])
    assert used["receivers"] == set(config["receivers"]) | connectors
    assert used["exporters"] == set(config["exporters"]) | connectors
    assert used["processors"] == set(config["processors"])
    for kind in ("processors", "connectors"):
        for name, members in config[kind].items():
            assert set(members) <= MEMBERS[name]


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
