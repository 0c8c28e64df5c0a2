"""schemathesis over the committed OpenAPI file, against a real server: all answers documented, no failure of ours.

    SLIPSTREAM_FUZZ_EXAMPLES=60 pytest tests/control_plane/fuzz    # deeper; 0 (as in `make test`) is a bounded slice

Four phases: the recorded examples, the edges of every parameter, random requests, and sequences that follow an object
from where it is made to where it is used. All of it as one tenant, beside whom another has the same objects.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control_plane.tenants.models import Membership, ServiceKey
from tests.control_plane import test_isolation as isolation
from tests.control_plane.tenant import Tenant, make_tenant

REPOSITORY = Path(__file__).resolve().parents[3]
OPENAPI = REPOSITORY / "control_plane" / "openapi.yaml"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
    "another_tenants_ids_never_come_back",
)
EXAMPLES = int(os.environ.get("SLIPSTREAM_FUZZ_EXAMPLES", "0"))
SLICE_SECONDS = 60


def _ids(tenant: Tenant) -> dict[str, dict[str, str]]:
    """Of every route that the isolation tests know: an object of this tenant. Under "": all of them by parameter."""
    found: dict[str, dict[str, str]] = {"": {}}
    for route, case in isolation.ROUTES.items():
        if isinstance(case, isolation.ObjectRoute):
            ids = case.ids(tenant)
            found[f"/api/v1/{route}".replace("<str:", "{").replace(">", "}")] = ids
            found[""] |= ids
    return found


@pytest.mark.timeout(1800)
def test_every_answer_is_documented_and_none_is_a_failure_of_ours(
    live_server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "django.request")  # thousands of refusals are what is wanted
    ours, theirs = make_tenant("alice"), make_tenant("bob")
    member = Membership.objects.get(organization=ours.organization, user=ours.user)
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(OPENAPI), "--url", live_server.url),
            *("--header", f"Authorization: Bearer {ours.service_key_text}", "--checks", ",".join(CHECKS)),
            *("--exclude-path-regex", "/api/v1/(schema|docs)$", "--generation-deterministic", "--no-color"),
            *("--continue-on-failure", "--request-timeout", "20", "--output-sanitize", "true"),
            *("--max-examples", str(EXAMPLES or 2)),
            *("--report-json-path", str(report), "--suppress-health-check", "all", "--warnings", "off"),
            *(() if EXAMPLES else ("--max-time", str(SLICE_SECONDS))),
        ],
        cwd=tmp_path,  # schemathesis keeps a folder of its own
        env=os.environ
        | {
            "SCHEMATHESIS_HOOKS": "tests.control_plane.fuzz.hooks",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "kernels")]),
            "SLIPSTREAM_FUZZ_OURS": json.dumps(_ids(ours)),
            "SLIPSTREAM_FUZZ_THEIRS": json.dumps(_ids(theirs)),
            "SLIPSTREAM_FUZZ_KEEP": json.dumps([ours.service_key.id, ours.service_key.account_id, member.id]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-30_000:]
    print(done.stdout)
    assert ServiceKey.objects.unscoped().get(pk=ours.service_key.id).is_live
