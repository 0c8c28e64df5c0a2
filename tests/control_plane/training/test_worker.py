"""A real Celery worker on a real broker, killed in mid-run."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from celery import Celery

from control_plane.common.object_store import object_store
from control_plane.speculators.selectors import active_version
from control_plane.training import services
from tests.control_plane.learning import CHILD, make_tenant, put_segment, use_training_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]

LEASE_SECONDS = 3


@pytest.fixture
def worker(postgres, valkey, s3_settings, settings, tmp_path):
    """start(**behaviour of the training process) -> a worker; all of them are ended afterwards."""
    use_training_process(settings, tmp_path)
    started = []

    def start(**behaviour):
        environment = os.environ | s3_settings.client_environment | {
            "DATABASE_URL": postgres.url,
            "BROKER_URL": valkey.url,
            "DJANGO_SETTINGS_MODULE": "control_plane.settings",
            "SLIPSTREAM_VAR": str(settings.SLIPSTREAM_VAR),
            "SLIPSTREAM_MODELS_DIR": str(settings.SLIPSTREAM_MODELS_DIR),
            "SLIPSTREAM_CHECKPOINTS_DIR": str(settings.SLIPSTREAM_CHECKPOINTS_DIR),
            "SLIPSTREAM_TRAINING_COMMAND": shlex.join([sys.executable, str(CHILD), json.dumps(behaviour)]),
            "SLIPSTREAM_TRAINING_LEASE_SECONDS": str(LEASE_SECONDS),
            "SLIPSTREAM_TRAINING_POLL_SECONDS": "0.1",
        }  # fmt: skip
        arguments = ["worker", "-Q", "training", "--concurrency=1", "--without-gossip", "--without-mingle"]
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "control_plane.celery", *arguments, "-l", "INFO"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process):
    """SIGKILL the worker with its pool: nothing gets to say good-bye."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def nudge(valkey, run_id):
    with Celery(broker=valkey.url, set_as_current=False) as app:
        app.send_task("training.execute_run", [run_id], queue="training")


def wait_for(run, states, seconds=60):
    deadline = time.monotonic() + seconds
    while run.state not in states:
        assert time.monotonic() < deadline, f"the run stayed {run.state}: {run.state_message}"
        time.sleep(0.1)
        run.refresh_from_db()


def children_of(run, var):
    """Process ids whose working folder is a scratch folder of this run."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith(str(var / "training" / run.id)):
                found.append(int(link.parent.name))
    return found


def test_a_killed_worker_takes_its_child_along_and_the_run_is_finished_by_another(worker, valkey, settings):
    store, tenant = object_store(), make_tenant()
    policy = tenant.consent()
    for _ in range(4):
        put_segment(store, tenant)
    services.discover_segments(policy, store, lookback_days=3)
    run = services.start_run(tenant.speculator, trigger="manual", actor="usr_test")

    first = worker(sleep=120)
    nudge(valkey, run.id)
    wait_for(run, {"running"})
    deadline = time.monotonic() + 20
    while not (children := children_of(run, settings.SLIPSTREAM_VAR)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kill(first)
    deadline = time.monotonic() + 10
    while children_of(run, settings.SLIPSTREAM_VAR):
        assert time.monotonic() < deadline, f"the child outlived its worker: {children}"
        time.sleep(0.05)

    assert services.sweep() == []  # the lease still holds: the worker might only be slow
    time.sleep(LEASE_SECONDS)
    assert services.sweep() == [run.id]
    run.refresh_from_db()
    assert (run.state, run.state_code) == ("queued", "lease_lost")

    worker()
    nudge(valkey, run.id)
    wait_for(run, {"succeeded", "failed", "rejected", "skipped"})
    assert (run.state, run.attempts) == ("succeeded", 2)
    assert active_version(tenant.speculator).training_run_id == run.id
    assert list((settings.SLIPSTREAM_VAR / "training").iterdir()) == []  # also what the killed worker left
