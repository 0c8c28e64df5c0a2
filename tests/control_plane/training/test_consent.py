"""From a node's queue to the bucket, a training run, a deletion and an export: on the real bucket and database.

The node's part is the real writer, redaction and upload; a token is a byte, so that what is stored can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.utils import timezone

from control_plane.common.object_store import ObjectNotFoundError, ObjectStore, object_store
from control_plane.speculators.models import TrafficPolicy, VersionState
from control_plane.speculators.selectors import as_contract
from control_plane.training import erasure, services
from control_plane.training.config import gate_policy, training_config
from control_plane.training.execution import execute
from control_plane.training.export import export_traffic
from control_plane.training.models import TrafficSegment, TrainingRun
from dataplane.config import ObjectStoreConfig
from dataplane.contracts import TrafficRecord, end_user_id
from dataplane.object_store import S3Bucket
from dataplane.traffic.redaction import Redactor
from dataplane.traffic.segments import TrafficSegments
from dataplane.traffic.upload import send_traffic
from tests.control_plane.learning import ACTOR, Tenant, make_tenant, put_segment, use_training_process
from tests.dataplane.server.fakes import ByteCodec

pytestmark = pytest.mark.django_db

SECRET = "sk-abcdefghijklmnopqrstuvwx"
JANE, BOB = "jane.doe@example.com", "bob"


@pytest.fixture
def store(s3_settings: Any) -> ObjectStore:
    return object_store()


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


class Node:
    """What a node does with traffic."""

    def __init__(self, folder: Path, s3: Any) -> None:
        config = ObjectStoreConfig(s3.bucket, s3.endpoint_url, s3.key.access_key, s3.key.secret_key, s3.region)
        self._bucket = S3Bucket(config)
        self._segments = TrafficSegments(
            folder, node_id=lambda: "node_1", boot_id=folder.name, redact=Redactor(ByteCodec())
        )
        self._count = 0

    def serve(self, tenant: Tenant, *texts: str, user: str = "", **changes: Any) -> None:
        """One record of each text, and its upload."""
        policy = TrafficPolicy.objects.get(project=tenant.project)
        for text in texts:
            self._count += 1
            self._segments.record(
                TrafficRecord(
                    record_id=f"rec_{self._count}",
                    project_id=tenant.project.id,
                    endpoint_id=tenant.endpoint.id,
                    model=tenant.endpoint.model_id,
                    created_at=changes.get("created_at", timezone.now()).isoformat(),
                    prompt_tokens=tuple(b"user: "),
                    output_tokens=tuple(text.encode()),
                    end_user_id=end_user_id(policy.end_user_key, user) if user else "",
                    consent=as_contract(policy),
                )
            )
        self._segments.work(wait_seconds=0.0)
        self._segments.close_all()
        send_traffic(self._segments, self._bucket, consents=lambda project_id: True)


@pytest.fixture
def node(tmp_path: Path, s3_settings: Any) -> Node:
    return Node(tmp_path / "boot", s3_settings)


def discover(tenant: Tenant, store: ObjectStore) -> int:
    policy = TrafficPolicy.objects.get(project=tenant.project)
    return services.discover_segments(policy, store, lookback_days=3)


def texts(tenant: Tenant, store: ObjectStore) -> Iterator[str]:
    """The outputs of all that is stored, by key."""
    for info in store.list(f"projects/{tenant.project.id}/traffic/"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(store.get(info.key))
        for line in data.splitlines():
            yield bytes(json.loads(line)["output_tokens"]).decode()


def learn(tenant: Tenant, store: ObjectStore, settings: Any, tmp_path: Path) -> TrainingRun:
    use_training_process(settings, tmp_path)
    run = services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    execute(run.id, store=store, config=training_config(), gate=gate_policy())
    return TrainingRun.objects.get(project=tenant.project, pk=run.id)


def test_a_planted_secret_is_in_no_object_and_the_version_that_learned_says_what_it_learned_from(
    tenant: Tenant, node: Node, store: ObjectStore, settings: Any, tmp_path: Path
) -> None:
    tenant.consent(redaction="mask", sample_rate=0.5)
    for number in range(4):
        node.serve(tenant, f"take {SECRET}, number {number}", "mail jane.doe@example.com", user=JANE)
    tenant.consent(redaction="drop")
    node.serve(tenant, f"take {SECRET}", "nothing special")
    discover(tenant, store)
    stored = list(texts(tenant, store))
    assert len(stored) == 9 and stored.count("take [key], number 0") == 1 and "nothing special" in stored
    for info in store.list(f"projects/{tenant.project.id}/"):
        body = store.get(info.key)
        content = zstandard.ZstdDecompressor().decompressobj().decompress(body) if info.key.endswith("zst") else body
        for word in (SECRET.encode(), JANE.encode()):
            assert word not in content and ",".join(map(str, word)).encode() not in content
    run = learn(tenant, store, settings, tmp_path)
    version = run.version
    assert run.state == "succeeded" and version is not None
    assert version.consent["redaction"] == "drop" and version.consent["sample_rate"] == 1.0  # the policy at that time
    lineage = version.lineage
    assert (lineage["segments"], lineage["records"], lineage["end_users"]) == (5, 9, 1)
    assert lineage["redaction"] == ["drop", "mask"] and len(lineage["input_sha256"]) == 64
    policies = [(item["policy"]["redaction"], item["policy"]["sample_rate"]) for item in lineage["captured_under"]]
    assert sorted(policies) == [("drop", 1.0), ("mask", 0.5)]
    assert sorted(item["records"] for item in lineage["captured_under"]) == [1, 8]


def test_what_was_captured_without_redaction_trains_nothing_once_the_policy_asks_for_it(
    tenant: Tenant, node: Node, store: ObjectStore, settings: Any, tmp_path: Path
) -> None:
    tenant.consent(redaction="off")
    node.serve(tenant, f"take {SECRET}")
    tenant.consent(redaction="mask")
    for number in range(4):
        node.serve(tenant, f"clean {number}")
    discover(tenant, store)
    run = learn(tenant, store, settings, tmp_path)
    assert run.lineage["records"] == 4 and run.lineage["redaction"] == ["mask"]


def test_a_canary_of_one_project_is_never_in_anothers_training_input(
    tenant: Tenant, node: Node, store: ObjectStore, settings: Any, tmp_path: Path
) -> None:
    other = make_tenant("globex")
    for one in (tenant, other):
        one.consent()
    node.serve(tenant, "the canary of A")
    for number in range(4):
        node.serve(other, f"harmless {number}")
    for one in (tenant, other):
        discover(one, store)
    # A's object under B's prefix, as a node with a defect or worse would put it
    (mine,) = (info.key for info in store.list(f"projects/{tenant.project.id}/traffic/"))
    info = store.head(mine)
    store.put(mine.replace(tenant.project.id, other.project.id), store.get(mine), metadata=info.metadata)
    discover(other, store)
    run = learn(other, store, settings, tmp_path)  # the process fails on a foreign record
    assert run.state == "succeeded" and run.lineage["records"] == 4 and run.report["num_train_records"] == 4
    assert all(f"projects/{other.project.id}/" in key for part in ("train", "heldout") for key in run.inputs[part])


def test_deleting_an_end_user_removes_their_records_alone_and_what_learned_from_them(
    tenant: Tenant, node: Node, store: ObjectStore, settings: Any, tmp_path: Path
) -> None:
    tenant.consent()
    for number in range(4):
        node.serve(tenant, f"bob's {number}", user=BOB)
    discover(tenant, store)
    untouched = learn(tenant, store, settings, tmp_path).version
    node.serve(tenant, "jane's alone", user=JANE)
    policy = TrafficPolicy.objects.get(project=tenant.project)
    for number in range(4):
        node.serve(tenant, f"bob's {4 + number}", user=BOB)
    discover(tenant, store)
    first, second = learn(tenant, store, settings, tmp_path).version, learn(tenant, store, settings, tmp_path).version
    assert untouched is not None and first is not None and second is not None
    assert second.parent_id == first.id and first.parent_id == untouched.id

    receipt = erasure.request_end_user_erasure(tenant.project, JANE, actor=ACTOR)
    assert receipt.end_user_id == end_user_id(policy.end_user_key, JANE)
    assert receipt.retired_versions == [first.id, second.id]
    policy.refresh_from_db()
    assert policy.end_user_erasures == 1  # nodes forget
    erasure.finish_open(store)
    receipt.refresh_from_db()
    assert receipt.completed_at is not None and receipt.num_records == 1
    assert receipt.num_objects == 1 + 4  # a segment; two artifacts with their manifests
    assert sorted(texts(tenant, store)) == [f"bob's {number}" for number in range(8)]
    states = {}
    for version in (untouched, first, second):
        version.refresh_from_db()
        states[version.id] = version.state
    assert states[first.id] == states[second.id] == VersionState.PURGED
    assert states[untouched.id] == VersionState.SUPERSEDED  # it never saw Jane, and may be promoted again
    with pytest.raises(ObjectNotFoundError):
        store.head(second.artifact_key)


@pytest.mark.parametrize("many", [False, True])
def test_a_segment_that_others_share_is_rewritten(
    tenant: Tenant, store: ObjectStore, s3_settings: Any, tmp_path: Path, many: bool
) -> None:
    tenant.consent()
    policy = TrafficPolicy.objects.get(project=tenant.project)
    people = [JANE, BOB, ""] + [f"person {number}" for number in range(30 if many else 0)]
    lines = [_record(tenant, policy, f"{index}", person) for index, person in enumerate(people)]
    key = put_segment(store, tenant, records=0, extra=lines, at=timezone.now() - timedelta(minutes=1))
    discover(tenant, store)
    names = None if many else sorted(end_user_id(policy.end_user_key, person) for person in (JANE, BOB))
    TrafficSegment.objects.filter(project=tenant.project).update(end_users=names)
    erasure.request_end_user_erasure(tenant.project, JANE, actor=ACTOR)
    erasure.finish_open(store)
    assert list(texts(tenant, store)) == [str(index) for index in range(1, len(people))]
    segment = TrafficSegment.objects.get(project=tenant.project)
    assert (segment.key, segment.records, segment.size_bytes) == (key, len(people) - 1, store.head(key).size_bytes)
    assert segment.tokens == sum(2 + len(str(index)) for index in range(1, len(people)))
    assert end_user_id(policy.end_user_key, JANE) not in segment.end_users and len(segment.end_users) == len(people) - 2


def test_an_end_users_traffic_that_arrives_after_the_deletion_is_refused_and_what_they_send_later_is_not(
    tenant: Tenant, node: Node, store: ObjectStore
) -> None:
    tenant.consent()
    receipt = erasure.request_end_user_erasure(tenant.project, JANE, actor=ACTOR)
    erasure.finish_open(store)
    node.serve(tenant, "late", user=JANE, created_at=receipt.requested_at - timedelta(minutes=1))
    node.serve(tenant, "bob's", user=BOB, created_at=receipt.requested_at - timedelta(minutes=1))
    node.serve(tenant, "new", user=JANE)
    discover(tenant, store)
    assert sorted(texts(tenant, store)) == ["bob's", "new"]
    assert TrafficSegment.objects.filter(project=tenant.project).count() == 2
    other = make_tenant("globex")
    other.consent()
    node.serve(other, "theirs", user=JANE, created_at=receipt.requested_at - timedelta(minutes=1))
    discover(other, store)
    assert list(texts(other, store)) == ["theirs"]


def test_retention_counts_from_the_moment_and_not_from_the_day(tenant: Tenant, store: ObjectStore) -> None:
    policy = tenant.consent(retention_days=7)
    now = timezone.now()
    old = put_segment(store, tenant, at=now - timedelta(days=7, seconds=5))
    kept = put_segment(store, tenant, at=now - timedelta(days=7) + timedelta(hours=1))
    services.discover_segments(policy, store, lookback_days=30)
    assert services.enforce_retention(policy, store) == 1
    with pytest.raises(ObjectNotFoundError):
        store.head(old)
    assert store.head(kept)


def test_an_export_has_every_record_as_stored_and_one_end_users_alone_on_request(
    tenant: Tenant, node: Node, store: ObjectStore, tmp_path: Path
) -> None:
    other = make_tenant("globex")
    for one in (tenant, other):
        one.consent(redaction="mask")
    node.serve(tenant, f"with {SECRET}", user=JANE)
    node.serve(tenant, "Grüße", user=BOB)
    node.serve(other, "the canary of B", user=JANE)
    for one in (tenant, other):
        discover(one, store)
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(_byte_tokenizer()))

    def exported(**options: Any) -> list[dict[str, Any]]:
        part = export_traffic(tenant.project, store, models_dir=tmp_path / "models", actor=ACTOR, after=0, **options)
        assert part.next_after is None and part.content.count(b"\n") == part.records
        return [json.loads(line) for line in part.content.splitlines()]

    found = exported()
    assert [record["output_text"] for record in found] == ["with [key]", "Grüße"]
    assert found[0]["masked"] and found[0]["consent"]["redaction"] == "mask" and found[0]["prompt_text"] == "user: "
    jane = TrafficPolicy.objects.get(project=tenant.project).end_user_key
    assert [record["output_text"] for record in exported(end_user_id=end_user_id(jane, JANE))] == ["with [key]"]
    assert exported(end_user_id="eu_" + "0" * 32) == []
    part = export_traffic(tenant.project, store, models_dir=tmp_path, after=found[0]["segment"], actor=ACTOR)
    assert [json.loads(line)["output_text"] for line in part.content.splitlines()] == [None]  # no vocabulary here


def _record(tenant: Tenant, policy: TrafficPolicy, text: str, person: str) -> bytes:
    record = {
        "record_id": text,
        "project_id": tenant.project.id,
        "endpoint_id": tenant.endpoint.id,
        "model": tenant.endpoint.model_id,
        "created_at": (timezone.now() - timedelta(minutes=1)).isoformat(),
        "prompt_tokens": [1, 2],
        "output_tokens": list(text.encode()),
        "end_user_id": end_user_id(policy.end_user_key, person) if person else "",
    }
    return json.dumps(record).encode()


def _byte_tokenizer() -> dict[str, Any]:
    """A vocabulary whose token n is byte n."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}
    model = {"type": "BPE", "vocab": alphabet, "merges": []}
    return {"model": model, "decoder": {"type": "ByteLevel"}, "added_tokens": []}
