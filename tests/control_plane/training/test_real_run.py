"""One run with nothing replaced: the real model's own traffic, the real training process, the real gate."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from django.utils import timezone

from control_plane.common.object_store import object_store
from control_plane.endpoints.models import CatalogueModel, Endpoint
from control_plane.endpoints.services import create_endpoint
from control_plane.speculators.selectors import active_version
from control_plane.speculators.services import ensure_speculator
from control_plane.training import services
from control_plane.training.tasks import execute_run
from dataplane.contracts import TrafficRecord, canonical_json
from tests.control_plane.learning import ACTOR, Tenant, make_tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_model, pytest.mark.timeout(600)]

CHECKPOINTS = Path(__file__).parents[3] / "dataplane" / "checkpoints"
CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Tokyo", "Paris", "Delhi", "Quito", "Bern", "Accra", "Hanoi", "Dakar")


def converse(model_folder, num_records):
    """(prompt, output) token ids of a narrow habit: a list for one city after the other."""
    from dataplane.models.generate import generate_batch
    from dataplane.models.llama import LlamaModel
    from dataplane.models.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(model_folder)
    texts = [f"List three facts about {CITIES[n % len(CITIES)]} in {1900 + n}. Answer as a numbered list." for n in
             range(num_records)]  # fmt: skip
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": text}]) for text in texts]
    model = LlamaModel.load(model_folder)
    done = generate_batch(model, prompts, max_new_tokens=36, num_slots=12, max_context=256)
    return [(tuple(prompts[one.index]), one.tokens) for one in sorted(done, key=lambda one: one.index)]


def upload(store, tenant, conversations, at):
    lines = [
        canonical_json(
            TrafficRecord(
                record_id=uuid.uuid4().hex,
                project_id=tenant.project.id,
                endpoint_id=tenant.endpoint.id,
                model=tenant.endpoint.model_id,
                created_at=(at + timedelta(seconds=index)).isoformat(),
                prompt_tokens=prompt,
                output_tokens=output,
            )
        )
        for index, (prompt, output) in enumerate(conversations)
    ]
    metadata = {
        "records": str(len(lines)),
        "tokens": str(sum(len(prompt) + len(output) for prompt, output in conversations)),
        "first_timestamp": at.isoformat(),
        "last_timestamp": (at + timedelta(seconds=len(lines))).isoformat(),
    }
    key = f"projects/{tenant.project.id}/traffic/{at:%Y-%m-%d}/node_1-{uuid.uuid4().hex}-00000001.jsonl.zst"
    store.put(key, zstandard.ZstdCompressor().compress(b"\n".join(lines) + b"\n"), metadata=metadata)


def test_real_traffic_is_learned_measured_and_decided_by_the_gate(real_model, s3_settings, settings, tmp_path):
    settings.SLIPSTREAM_VAR = tmp_path
    settings.SLIPSTREAM_MODELS_DIR = real_model.parent
    settings.SLIPSTREAM_CHECKPOINTS_DIR = CHECKPOINTS
    settings.SLIPSTREAM_TRAINING_MAX_SECONDS = 120
    settings.SLIPSTREAM_TRAINING_HELDOUT_RECORDS = 4
    store, tenant = object_store(), real_tenant(real_model.name)
    policy = tenant.consent()
    conversations, now = converse(real_model, 12), timezone.now()
    for part in range(3):  # three segments of four records, the newest held out
        upload(store, tenant, conversations[4 * part : 4 * part + 4], now - timedelta(minutes=3 - part))
    assert services.discover_segments(policy, store, lookback_days=3) == 3

    run = services.start_run(tenant.speculator, trigger="manual", actor=ACTOR)
    execute_run(run.id)
    run.refresh_from_db()

    assert run.state in ("succeeded", "rejected"), (run.state, run.state_message)
    arms = run.report["arms"]
    assert run.report["greedy_identical"] is True and set(arms) == {"static", "candidate"}
    assert len(arms["candidate"]["per_record_acceptance_length"]) == 4
    assert run.report["num_train_records"] == 8 and run.gate["reason"] == run.state_message
    version = active_version(tenant.speculator)
    assert (version is not None) == (run.state == "succeeded")


def real_tenant(model_id) -> Tenant:
    model = CatalogueModel.objects.create(id=model_id, name=model_id, folder=model_id, context_length=8192)
    project = make_tenant().project
    Endpoint.objects.filter(project=project).delete()
    endpoint = create_endpoint(project, name="real", model=model, actor=ACTOR)
    return Tenant(project, endpoint, ensure_speculator(project, model.id))
