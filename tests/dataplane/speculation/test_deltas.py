"""Trained deltas come and go without the step noticing: hot swaps, refusals, limits."""

from __future__ import annotations

from pathlib import Path

from dataplane.speculation.deltas import DeltaRegistry, Desired
from tests.fakes import FakeDrafter, FakeTarget

load = FakeDrafter(FakeTarget()).load_delta


def desired(folder: Path, **versions: str) -> dict[str, Desired]:
    """endpoint=content: the version is named after its content, and so is its file."""
    wanted = {}
    for endpoint_id, content in versions.items():
        path = folder / content[:40]
        path.write_text(content)
        wanted[endpoint_id] = Desired(f"prj_{endpoint_id}", f"ver_{content[:40]}", path)
    return wanted


def test_a_version_drafts_only_after_the_swap_at_a_step_boundary(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    (report,) = registry.refresh(desired(tmp_path, end_a="one"))
    assert (report.state, report.speculator_version_id) == ("loaded", "ver_one")
    assert registry.of("end_a") is None
    registry.swap_if_ready()
    assert registry.version_of("end_a") == "ver_one"
    assert registry.of("end_b") is None


def test_a_version_that_cannot_be_loaded_is_refused_with_its_reason_and_the_old_one_stays(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    registry.refresh(desired(tmp_path, end_a="one"))
    registry.swap_if_ready()
    report = {one.state: one for one in registry.refresh(desired(tmp_path, end_a="corrupt two"))}
    registry.swap_if_ready()
    assert report["refused"].speculator_version_id == "ver_corrupt two"
    assert "checksum" in report["refused"].reason
    assert report["loaded"].speculator_version_id == "ver_one"
    assert registry.version_of("end_a") == "ver_one"


def test_an_artifact_that_has_not_arrived_is_loaded_once_it_has(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    late = {"end_a": Desired("prj_a", "ver_one", tmp_path / "late")}
    (report,) = registry.refresh(late)
    assert (report.state, report.reason) == ("refused", "the artifact is not on this node")
    (tmp_path / "late").write_text("one")
    (report,) = registry.refresh(late)
    assert report.state == "loaded"


def test_an_endpoint_that_wants_no_version_any_more_drafts_statically(tmp_path: Path) -> None:
    registry = DeltaRegistry(load)
    registry.refresh(desired(tmp_path, end_a="one"))
    registry.swap_if_ready()
    registry.refresh({})
    registry.swap_if_ready()
    assert registry.of("end_a") is None


def test_deployments_that_run_the_same_version_share_one_delta_and_its_bytes(tmp_path: Path) -> None:
    registry = DeltaRegistry(load, max_bytes=150)
    wanted = desired(tmp_path, dep_a="a" * 100)
    registry.refresh(wanted)
    registry.swap_if_ready()
    wanted["dep_b"] = wanted["dep_a"]
    report = registry.refresh(wanted)
    registry.swap_if_ready()
    assert {one.deployment_id for one in report if one.state == "loaded"} == {"dep_a", "dep_b"}
    assert registry.of("dep_a") is registry.of("dep_b") is not None
    strangers = wanted | desired(tmp_path, dep_c="a" * 100)  # the same bytes, of another project
    registry.refresh(strangers)
    registry.swap_if_ready()
    assert registry.of("dep_c") is None


def test_the_endpoints_that_drafted_last_stay_when_memory_is_short(tmp_path: Path) -> None:
    registry = DeltaRegistry(load, max_bytes=250)
    wanted = desired(tmp_path, end_a="a" * 100, end_b="b" * 100)
    registry.refresh(wanted)
    registry.swap_if_ready()
    registry.of("end_b")
    registry.of("end_a")
    wanted.update(desired(tmp_path, end_c="c" * 100))
    registry.refresh(wanted)
    registry.swap_if_ready()
    assert [endpoint_id for endpoint_id in sorted(wanted) if registry.version_of(endpoint_id)] == ["end_a", "end_c"]
    registry.of("end_b")  # a request comes: the next refresh brings it back
    registry.of("end_a")
    registry.refresh(wanted)
    registry.swap_if_ready()
    assert [endpoint_id for endpoint_id in sorted(wanted) if registry.version_of(endpoint_id)] == ["end_a", "end_b"]
