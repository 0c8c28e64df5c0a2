"""The agent follows a control plane that comes, goes, forgets it and sends artifacts that must not be loaded."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dataplane.contracts import (
    ArtifactFile,
    DeploymentConfig,
    EndpointConfig,
    LoadedVersion,
    Manifest,
    Moments,
    NodeStatus,
    ProjectConfig,
    SequencedUsage,
    SignedManifest,
    Snapshot,
    SpeculatorRef,
    TrafficPolicy,
    canonical_json,
    from_dict,
    signing_payload,
    to_dict,
)
from dataplane.engines.base import SpeculationStats
from dataplane.object_store import ObjectStoreError
from dataplane.sync.agent import Agent, WantedVersion
from dataplane.sync.artifacts import ArtifactRules, ArtifactStore
from dataplane.sync.control_plane import ControlPlane, ControlPlaneError, NodeIdentity, Registration
from dataplane.sync.identity import IdentityStore
from dataplane.sync.snapshot import SnapshotStore
from dataplane.sync.status import SpeculationWindows
from dataplane.traffic.spool import UsageSpool
from dataplane.traffic.upload import send_usage
from tests.dataplane.traffic.test_spool import event

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC_KEYS = {"k1": base64.b64encode(KEY.public_key().public_bytes_raw()).decode()}
BODY = b"a delta"


@dataclass
class Script:
    """A control plane in memory: what it answers and what it got."""

    snapshot: Snapshot
    node_id: str = "node_1"
    is_down: bool = False
    credential: str = "secret-1"
    registrations: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[NodeStatus] = field(default_factory=list)
    usage: dict[str, SequencedUsage] = field(default_factory=dict)
    lose_next_answer: bool = False
    refuses: str = ""  # the code with which heartbeats are refused

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if self.is_down:
            return 503, {}
        if path == "/internal/v1/nodes/register":
            self.registrations.append(body)
            return 201, {"node_id": self.node_id, "credential": self.credential}
        if headers.get("Authorization") != f"Node {self.node_id}:{self.credential}":
            return 401, {}
        if path == f"/internal/v1/nodes/{self.node_id}/snapshot":
            is_known = headers.get("If-None-Match") == f'"{self.snapshot.generation}"'
            return (304, None) if is_known else (200, to_dict(self.snapshot))
        if path == f"/internal/v1/nodes/{self.node_id}/status":
            if self.refuses:
                return 409, {"code": self.refuses}
            self.statuses.append(from_dict(NodeStatus, body))
            return 204, None
        acknowledged: dict[str, int] = {}
        for item in body["events"]:
            entry = from_dict(SequencedUsage, item)
            assert self.usage.setdefault(entry.event.event_id, entry) == entry
            acknowledged[entry.boot_id] = 0 if entry.boot_id == "boot-with-a-gap" else entry.seq
        if self.lose_next_answer:
            self.lose_next_answer = False
            return 502, {}
        return 200, {"acknowledged": acknowledged}


@dataclass
class World:
    script: Script
    agent: Agent
    control_plane: ControlPlane
    snapshots: SnapshotStore
    objects: dict[str, bytes]
    windows: SpeculationWindows
    folder: Path
    refreshed: list[dict[str, WantedVersion]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    fenced: list[bool] = field(default_factory=list)

    def refresh(self, wanted: Mapping[str, WantedVersion]) -> list[LoadedVersion]:
        self.refreshed.append(dict(wanted))
        return [
            LoadedVersion(
                want.endpoint_id, want.speculator_version_id, "loaded" if want.path else "refused", "no file", name
            )
            for name, want in wanted.items()
        ]

    # The object store.
    def get(self, key: str, *, max_bytes: int) -> bytes:
        if key not in self.objects:
            raise ObjectStoreError(f"{key} is absent")
        return self.objects[key]

    def put(self, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        self.objects[key] = path.read_bytes()

    def offer(self, *, generation: int = 2, key_id: str = "k1", tamper: bytes = b"", **changes: Any) -> None:
        """Publish a version in the bucket and a snapshot that wants it."""
        manifest = Manifest(
            speculator_version_id="spv_1",
            speculator_id="spk_1",
            project_id="prj_1",
            number=1,
            target_model="m",
            static_sha256="0" * 64,
            file=ArtifactFile("projects/prj_1/speculators/x.safetensors", hashlib.sha256(BODY).hexdigest(), len(BODY)),
            created_at="2026-01-01T00:00:00Z",
        )
        manifest = replace(manifest, **changes)
        signature = base64.b64encode(KEY.sign(signing_payload(manifest))).decode()
        data = canonical_json(SignedManifest(manifest, key_id, signature)) + tamper
        self.objects |= {"manifest": data, manifest.file.key: BODY}
        ref = SpeculatorRef("spk_1", "spv_1", 1, "manifest", hashlib.sha256(data.removesuffix(tamper)).hexdigest())
        endpoints = tuple(replace(endpoint, speculator=ref) for endpoint in self.script.snapshot.endpoints)
        self.script.snapshot = replace(self.script.snapshot, generation=generation, endpoints=endpoints)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    project = ProjectConfig("prj_1", "org_1", "salt", TrafficPolicy(capture=True))
    endpoint = EndpointConfig("ep_1", "prj_1", "dep_1", "assistant", "m")
    script = Script(Snapshot("node_1", 1, "2026-01-01T00:00:00Z", (project,), (), (endpoint,)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = script.answer(self.command, self.path, self.headers, body)
            data = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        control_plane = ControlPlane(f"http://127.0.0.1:{server.server_address[1]}")
        world = make_world(tmp_path, script, control_plane)
        yield world
        control_plane.close()
        server.shutdown()
        thread.join()


def make_world(folder: Path, script: Script, control_plane: ControlPlane) -> World:
    """A node's agent with its state in `folder`; again on the same folder: the node after a restart."""
    snapshots, windows = SnapshotStore(folder / "snapshot.json"), SpeculationWindows()
    world = World(script, None, control_plane, snapshots, {}, windows, folder)  # type: ignore[arg-type]
    registration = Registration("boot", "name", "embedded", "m", "sha", "http://127.0.0.1:1")
    world.agent = Agent(
        control_plane=control_plane,
        identity=IdentityStore(folder / "identity.json", control_plane, registration, token=lambda: "token"),
        snapshots=snapshots,
        artifacts=ArtifactStore(folder / "artifacts", world, ArtifactRules(PUBLIC_KEYS, "0" * 64)),
        refresh=world.refresh,
        forget=world.forgotten.append,
        fence=world.fenced.append,
        windows=windows,
        last_good=folder / "last_good.json",
    )
    return world


def status(identity: NodeIdentity) -> NodeStatus:
    return NodeStatus(identity.node_id, "boot", "ready", 1, "embedded", "m", "sha", "2026-01-01T00:00:00Z")


def test_a_node_registers_once_and_keeps_its_credential_to_itself(world: World) -> None:
    world.agent.follow()
    world.agent.follow()
    assert len(world.script.registrations) == 1
    assert world.script.registrations[0]["registration_token"] == "token"
    assert (world.folder / "identity.json").stat().st_mode & 0o777 == 0o600
    restarted = make_world(world.folder, world.script, world.control_plane)
    restarted.agent.follow()
    assert len(world.script.registrations) == 1


def test_a_superseded_process_is_fenced_until_it_is_taken_again(world: World) -> None:
    world.agent.follow()
    world.script.refuses = "fenced"
    with pytest.raises(ControlPlaneError, match="409"):
        world.agent.report(status)
    world.script.refuses = ""
    world.agent.report(status)
    assert world.fenced == [True, False]


def test_a_refused_credential_leads_to_a_new_registration_and_its_snapshot(world: World) -> None:
    world.agent.follow()
    world.script.credential = "secret-2"
    world.script.node_id = "node_2"
    world.script.snapshot = replace(world.script.snapshot, node_id="node_2")
    with pytest.raises(ControlPlaneError, match="401"):
        world.agent.follow()
    world.agent.follow()
    assert world.snapshots.current is not None
    assert world.snapshots.current.snapshot.node_id == "node_2"


def test_a_newer_snapshot_is_applied_and_an_older_one_is_not(world: World) -> None:
    world.agent.follow()
    world.script.snapshot = replace(world.script.snapshot, generation=5, endpoints=())
    world.agent.follow()
    assert world.snapshots.current is not None
    assert world.snapshots.current.generation == 5
    world.script.snapshot = replace(world.script.snapshot, generation=4)
    world.agent.follow()
    assert world.snapshots.current.generation == 5


def test_without_the_control_plane_the_last_snapshot_serves_also_after_a_restart(world: World) -> None:
    world.agent.follow()
    world.script.is_down = True
    with pytest.raises(ControlPlaneError):
        world.agent.follow()
    assert world.snapshots.current is not None
    restarted = make_world(world.folder, world.script, world.control_plane)
    assert restarted.snapshots.load()
    assert restarted.snapshots.current == world.snapshots.current


def test_a_verified_artifact_is_loaded_once(world: World) -> None:
    world.offer()
    world.agent.follow()
    world.agent.follow()
    path = world.refreshed[-1]["dep_1"].path
    assert path is not None
    assert path.read_bytes() == BODY
    assert len(world.refreshed) == 1
    assert [item.state for item in world.agent.loaded] == ["loaded"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"project_id": "prj_2"}, "project_id"),
        ({"target_model": "other"}, "target_model"),
        ({"static_sha256": "1" * 64}, "static_sha256"),
        ({"speculator_version_id": "spv_2"}, "speculator_version_id"),
        ({"key_id": "k2"}, "unknown key"),
        ({"tamper": b" "}, "digest"),
        ({"file": ArtifactFile("projects/prj_2/x", hashlib.sha256(BODY).hexdigest(), len(BODY))}, "prefix"),
        ({"file": ArtifactFile("projects/prj_1/x", "0" * 64, len(BODY))}, "not what the manifest describes"),
        ({"file": ArtifactFile("projects/prj_1/x", hashlib.sha256(BODY).hexdigest(), 10**12)}, "bytes"),
        ({"file": ArtifactFile("projects/prj_1/x", "../../etc/passwd", len(BODY))}, "malformed"),
    ],
)
def test_an_artifact_with_anything_wrong_is_refused_with_a_reason(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    world.offer(**changes)
    world.agent.follow()
    world.agent.follow()
    assert world.refreshed == [{"dep_1": WantedVersion("prj_1", "spv_1", None, "ep_1")}]
    assert world.agent.loaded[0].state == "refused"
    assert reason in world.agent.loaded[0].reason
    world.agent.report(status)
    assert world.script.statuses[-1].loaded == world.agent.loaded


def test_a_forged_signature_is_refused(world: World) -> None:
    world.offer()
    signed = from_dict(SignedManifest, json.loads(world.objects["manifest"]))
    forged = canonical_json(replace(signed, signature=base64.b64encode(bytes(64)).decode()))
    world.objects["manifest"] = forged
    endpoint = world.script.snapshot.endpoints[0]
    assert endpoint.speculator is not None
    ref = replace(endpoint.speculator, manifest_sha256=hashlib.sha256(forged).hexdigest())
    world.script.snapshot = replace(world.script.snapshot, endpoints=(replace(endpoint, speculator=ref),))
    world.agent.follow()
    assert world.agent.loaded[0].reason == "the manifest's signature does not verify"


def test_a_download_that_fails_is_tried_again(world: World) -> None:
    world.offer()
    manifest = world.objects.pop("manifest")
    world.agent.follow()
    assert "not downloaded yet" in world.agent.loaded[0].reason
    world.objects["manifest"] = manifest
    world.agent.follow()
    assert world.agent.loaded[0].state == "loaded"


def test_after_a_restart_the_last_good_version_is_there_without_network(world: World) -> None:
    world.offer()
    world.agent.follow()
    restarted = make_world(world.folder, world.script, world.control_plane)
    restarted.snapshots.load()
    world.script.is_down = True
    with pytest.raises(ControlPlaneError):
        restarted.agent.follow()  # neither control plane nor bucket: only the disk can help
    assert restarted.refreshed[0] == world.refreshed[-1]
    assert restarted.agent.loaded[0].state == "loaded"


def test_withdrawn_consent_is_acted_upon(world: World) -> None:
    world.agent.follow()
    project = replace(world.script.snapshot.projects[0], traffic=TrafficPolicy(capture=False))
    world.script.snapshot = replace(world.script.snapshot, generation=2, projects=(project,))
    world.agent.follow()
    assert world.forgotten == ["prj_1"]


@pytest.mark.parametrize(
    "change", [{"end_user_erasures": 1}, {"traffic": TrafficPolicy(capture=True, memory_scope="end_user")}]
)
def test_a_project_is_forgotten_when_one_of_its_people_is_or_when_they_stop_sharing(
    world: World, change: dict[str, object]
) -> None:
    world.agent.follow()
    project = replace(world.script.snapshot.projects[0], **change)  # type: ignore[arg-type]
    world.script.snapshot = replace(world.script.snapshot, generation=2, projects=(project,))
    world.agent.follow()
    assert world.forgotten == ["prj_1"]
    stricter = replace(project, traffic=replace(project.traffic, redaction="mask"))
    world.script.snapshot = replace(world.script.snapshot, generation=3, projects=(stricter,))
    world.agent.follow()
    assert world.forgotten == ["prj_1"]


def test_deleted_traffic_takes_the_nodes_copies_along(world: World) -> None:
    world.offer()
    world.agent.follow()
    assert len(list((world.folder / "artifacts").iterdir())) == 2
    project = replace(world.script.snapshot.projects[0], cache_salt="another")
    endpoints = tuple(replace(endpoint, speculator=None) for endpoint in world.script.snapshot.endpoints)
    world.script.snapshot = replace(world.script.snapshot, generation=3, projects=(project,), endpoints=endpoints)
    world.agent.follow()
    assert world.forgotten == ["prj_1"] and world.refreshed[-1] == {}
    assert list((world.folder / "artifacts").iterdir()) == []


def test_windows_of_a_lost_heartbeat_come_with_the_next(world: World) -> None:
    stats = SpeculationStats("adaptive", 2, 4, 3, (2, 2), (2, 1), {"memory": 4}, {"memory": 3}, "spv_1")
    world.windows.add("ep_1", "dep_1", 5, replace(stats, decode_seconds=2.0), first_token_seconds=0.5)
    world.script.is_down = True
    with pytest.raises(ControlPlaneError):
        world.agent.report(status)
    world.script.is_down = False
    world.windows.add("ep_1", "dep_1", 5, replace(stats, per_position_drafted=(1,), per_position_accepted=(1,)))
    world.agent.report(status)
    world.agent.report(status)
    assert [len(sent.windows) for sent in world.script.statuses] == [1, 0]
    window = world.script.statuses[0].windows[0]
    assert (window.requests, window.completion_tokens, window.steps, window.accepted) == (2, 10, 4, 6)
    assert (window.per_position_drafted, window.per_position_accepted) == ((3, 2), (3, 1))
    assert (window.deployment_id, window.errors) == ("dep_1", 0)
    assert window.first_token == Moments(1, math.log(0.5), math.log(0.5) ** 2)
    assert window.per_token == Moments(1, math.log(0.5), math.log(0.5) ** 2)  # 2 s for 4 tokens after the first
    assert window.acceptance.count == 2
    assert window.accepted_by_source == {"memory": 6}
    assert (window.arm, window.speculator_version_id) == ("adaptive", "spv_1")


def test_a_request_that_failed_is_an_error_of_its_deployment_and_tells_nothing_of_speed(world: World) -> None:
    world.windows.add("ep_1", "dep_2", 3, SpeculationStats("off", 3, decode_seconds=1.0), failed=True)
    world.agent.report(status)
    window = world.script.statuses[0].windows[0]
    assert (window.deployment_id, window.requests, window.errors) == ("dep_2", 1, 1)
    assert window.per_token.count == window.acceptance.count == 0


def test_the_versions_of_all_deployments_of_an_endpoint_are_brought(world: World) -> None:
    world.offer()
    endpoint = world.script.snapshot.endpoints[0]
    old = DeploymentConfig("dep_1", 9_500, "static")
    new = DeploymentConfig("dep_2", 500, "adaptive", speculator=endpoint.speculator)
    endpoint = replace(endpoint, speculator=None, deployments=(old, new))
    world.script.snapshot = replace(world.script.snapshot, endpoints=(endpoint,))
    world.agent.follow()
    assert [(item.deployment_id, item.endpoint_id, item.state) for item in world.agent.loaded] == [
        ("dep_2", "ep_1", "loaded")
    ]


def test_usage_arrives_exactly_once_whatever_answer_is_lost(world: World) -> None:
    leftovers = UsageSpool(world.folder / "usage", "boot-0")
    leftovers.append(event("left"))
    leftovers.close()
    spool = UsageSpool(world.folder / "usage", "boot-1")
    spool.append(event("a"))

    def send() -> int:
        return world.agent.with_identity(lambda identity: send_usage(spool, world.control_plane, identity))

    world.script.is_down = True
    with pytest.raises(ControlPlaneError):
        send()
    world.script.is_down = False
    world.script.lose_next_answer = True
    with pytest.raises(ControlPlaneError):
        send()
    spool.append(event("b"))
    assert send() == 3
    assert send() == 0
    assert {name: (entry.boot_id, entry.seq) for name, entry in world.script.usage.items()} == {
        "left": ("boot-0", 1),
        "a": ("boot-1", 1),
        "b": ("boot-1", 2),
    }
    spool.close()


def test_a_boot_with_a_gap_holds_up_no_other(world: World) -> None:
    for boot, number_of_events in (("boot-with-a-gap", 3), ("other", 2)):
        spool = UsageSpool(world.folder / "usage", boot)
        for number in range(number_of_events):
            spool.append(event(f"{boot}-{number}"))
        spool.close()
    spool = UsageSpool(world.folder / "usage", "now")

    def send() -> int:
        return world.agent.with_identity(lambda identity: send_usage(spool, world.control_plane, identity))

    assert [send(), send()] == [5, 3]
    assert spool.size() == 3
