"""From a project to an endpoint that answers, with the typed client: `python quickstart.py PROJECT_ID`."""

from __future__ import annotations

import sys

from slipstream_client import Slipstream
from slipstream_client.errors import Conflict
from slipstream_client.models import ApiKeyCreateRequest, Endpoint, EndpointCreateRequest, TrafficPolicyBodyRequest


def main(project_id: str) -> None:
    with Slipstream() as slipstream:  # SLIPSTREAM_API_KEY and SLIPSTREAM_URL
        endpoint = assistant(slipstream, project_id)
        endpoint = slipstream.wait_until(endpoint, "ready", on_change=lambda found: print(found.state.value))
        key = slipstream.create_api_key(body=ApiKeyCreateRequest(project_id=project_id, name="quickstart"))
        slipstream.set_traffic_policy(project_id, body=TrafficPolicyBodyRequest(capture=True, retention_days=7))
        print(f"{endpoint.name} is ready; call it with {key.key}")
        for run in slipstream.iterate_training_runs(project_id=project_id):
            print(run.id, run.state.value, run.state_reason.message)


def assistant(slipstream: Slipstream, project_id: str) -> Endpoint:
    """The endpoint `assistant`, made if there is none."""
    model = slipstream.list_models().data[0]
    try:
        body = EndpointCreateRequest(project_id=project_id, name="assistant", model=model.id)
        return slipstream.create_endpoint(body=body)
    except Conflict:
        found = slipstream.iterate_endpoints(project_id=project_id)
        return next(endpoint for endpoint in found if endpoint.name == "assistant")


if __name__ == "__main__":
    main(sys.argv[1])
