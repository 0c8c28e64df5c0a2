"""Every GET of the management API, and what nodes ask, as often as it takes to give a median and a 95th percentile."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.bench.management.nodes import measure_node, register
from infra.bench.management.seed import Seed
from infra.bench.management.stored import store_traffic
from infra.bench.management.timing import HOST, Measured, timed

# Not lists or details of tenants' things: the same bytes for everybody.
LEFT_OUT = {"api/v1/schema", "api/v1/docs"}
_PARAMETER = re.compile(r"<str:(\w+)>")


@dataclass(slots=True)
class Results:
    projects: int = 0
    events: int = 0
    calls: list[Measured] = field(default_factory=list)


class Caller:
    """A service key's or a signed-in operator's client."""

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self._client = client

    def get(self, path: str) -> Any:
        return self._client.get(path)


def measure(seed: Seed, *, repeat: int, only: str, say: Callable[[str], None]) -> Results:
    from control_plane.billing.models import UsageEvent
    from control_plane.common.routes import routes
    from control_plane.tenants.models import Project

    results = Results(Project.objects.unscoped().count(), UsageEvent.objects.unscoped().count())
    operator, node = _operator(), register()
    tenants = [_tenant("small", seed.small), _tenant("big", seed.big[0])]
    for tenant in tenants:
        store_traffic(_id_of("api/v1/projects/", tenant))
    found = [route for route in routes("api/v1/") if route.path not in LEFT_OUT]
    paths = [route.path for route in found if "GET" in route.methods and only in route.path]
    for route in paths:
        for caller in tenants:
            measured = _route(route, caller, repeat)
            if measured.status in (0, 403) and (again := _route(route, operator, repeat)).status == 200:
                results.calls.append(again)
                break
            results.calls.append(measured)
        say(route)
    if not only:
        results.calls += measure_node(*node, repeat)
    return results


def _route(route: str, caller: Caller, repeat: int) -> Measured:
    try:
        path = f"/{_with_ids(route, caller)}"
        answer = caller.get(path)
        if answer.status_code == 400:
            path += "?" + _required(answer, caller)
            answer = caller.get(path)
    except LookupError as error:
        return Measured(route, caller.name, 0, problem=str(error))
    if answer.status_code != 200:
        return Measured(route, caller.name, answer.status_code, problem=answer.content[:200].decode())
    samples = tuple(timed(lambda: caller.get(path))[1] for _ in range(repeat))
    return Measured(route, caller.name, 200, samples)


def _with_ids(route: str, caller: Caller) -> str:
    """The path with ids that the caller's own lists hold: the list before each parameter is asked."""
    path = ""
    for part in _PARAMETER.split(route):
        path += _id_of(path, caller) if _PARAMETER.search(f"<str:{part}>") and part.endswith("_id") else part
    return path


def _id_of(collection: str, caller: Caller) -> str:
    """An id from the middle of a list. Raises LookupError."""
    path = f"/{collection.rstrip('/')}"
    answer = caller.get(f"{path}?limit=100" if "models" not in path else path)
    if answer.status_code == 400:
        answer = caller.get(f"{path}?{_required(answer, caller)}")
    rows = answer.json().get("data", []) if answer.status_code == 200 else []
    if not rows:
        raise LookupError(f"{path} lists nothing ({answer.status_code})")
    return str(rows[len(rows) // 2]["id"])


def _required(answer: Any, caller: Caller) -> str:
    """The query string that a 400 asks for, as far as it asks for ids."""
    names = [error["pointer"].strip("/") for error in answer.json().get("errors", [])]
    values = {}
    for name in names:
        kind = {"with": "speculator-versions"}.get(name, name.removesuffix("_id").replace("_", "-") + "s")
        values[name] = _id_of(f"api/v1/{kind}", caller)
    return "&".join(f"{name}={value}" for name, value in values.items())


def _tenant(name: str, organization_id: str) -> Caller:
    from django.test import Client

    from control_plane.tenants.models import Membership, Organization, User
    from control_plane.tenants.principal import principal_of_user
    from control_plane.tenants.service_accounts import create_service_key

    organization = Organization.objects.get(id=organization_id)
    owner = Membership.objects.filter(organization=organization, role="owner").values("user")[:1]
    principal = principal_of_user(User.objects.get(pk__in=owner))
    _, text = create_service_key(organization, name="bench", role="owner", principal=principal)
    return Caller(name, Client(headers={"Authorization": f"Bearer {text}"}, **HOST))


def _operator() -> Caller:
    from django.test import Client

    from control_plane.tenants.models import User

    user, _ = User.objects.get_or_create(email="operator@bench.example", defaults={"is_staff": True})
    client = Client(**HOST)
    client.force_login(user)
    return Caller("operator", client)
