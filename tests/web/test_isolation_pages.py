"""Whatever another tenant posts to whatever page, with whatever ids: nothing of the owner changes.

The forms are read from the templates: a new action, or a field that carries an id, is tried without being listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from tests.control_plane.tenancy import footprint
from tests.web.conftest import Tenant
from tests.web.test_pages import ACTIONS, PAGES, signed_in

pytestmark = pytest.mark.django_db

TEMPLATES = Path(__file__).resolve().parents[2] / "web" / "templates"
_INPUT = re.compile(r"<(?:button|input|select|textarea)\b[^>]*?\bname=\"(\w+)\"((?:[^>]|\{%.*?%\})*)>")
_VALUE = re.compile(r"\bvalue=\"([^\"]*)\"")

# Fields that carry the id of something: alice's, as bob would send it.
IDS: dict[str, Callable[[Tenant], str]] = {
    "key": lambda t: t.key.id,
    "version": lambda t: t.version.id,
    "delivery": lambda t: t.delivery.id,
    "invitation": lambda t: t.invitation.id,
    "undelete": lambda t: t.endpoint.id,
}
ORDINARY = {
    "name": "taken over",
    "speculation_mode": "off",
    "max_lookahead": "1",
    "row_version": "1",
    "sample_rate": "0.5",
    "retention_days": "1",
    "role": "owner",
    "email": "bob@example.com",
}


def _fields() -> dict[str, set[str]]:
    """Every field of a form, with the values that templates give it."""
    found: dict[str, set[str]] = {}
    for template in TEMPLATES.rglob("*.html"):
        for name, rest in _INPUT.findall(template.read_text()):
            values = found.setdefault(name, set())
            for value in _VALUE.findall(rest):
                values |= set(re.split(r"\{%.*?%\}", value)) - {""}
    return found


FIXED = {
    name: sorted(value for value in values if "{{" not in value) for name, values in _fields().items()
}  # `action=rollback`, `desired_state=stopped`
CHOICES = [(name, value) for name, values in sorted(FIXED.items()) for value in values]


def test_every_field_that_carries_an_id_has_a_value_here() -> None:
    """Add the field to IDS, with the id of alice's that bob would send."""
    carriers = {name for name, values in _fields().items() if any(re.search(r"\bid\s*\}\}", value) for value in values)}
    assert carriers - {"project", "organization"} <= set(IDS), carriers
    assert ("action", "rollback") in CHOICES and ("desired_state", "stopped") in CHOICES


def _paths(name: str, alice: Tenant, bob: Tenant) -> Iterator[tuple[str, bool]]:
    """Where bob posts, and whether it is alice's page."""
    theirs, own = ({**PAGES, **ACTIONS}[name](tenant) for tenant in (alice, bob))
    yield reverse(f"web:{name}", args=theirs), True
    yield reverse(f"web:{name}", args=own), False
    if len(own) > 1:
        yield reverse(f"web:{name}", args=[own[0], *theirs[1:]]), True


@pytest.mark.parametrize("name", sorted(PAGES | ACTIONS))
def test_nothing_that_another_tenant_posts_changes_anything_of_the_owner(name: str, alice: Tenant, bob: Tenant) -> None:
    client = signed_in(bob)
    before = footprint(alice.organization.id)
    ids = {field: value(alice) for field, value in IDS.items()}
    for path, is_foreign in _paths(name, alice, bob):
        for field, value in CHOICES:
            answer = client.post(path, {**ORDINARY, **ids, field: value})
            if answer.status_code == 405:
                break  # a page without a form
            assert answer.status_code in ((404,) if is_foreign else (200, 302, 400, 403, 404)), (path, value)
        assert footprint(alice.organization.id).differences(before) == {}, path


@pytest.mark.parametrize("name", sorted(PAGES))
@pytest.mark.parametrize("form", ["", "csv", "json", "jsonl"])
def test_no_page_and_no_export_of_one_tenant_mentions_another(name: str, form: str, alice: Tenant, bob: Tenant) -> None:
    """Every page is asked for every form: an export is found by being one."""
    answer = signed_in(alice).get(reverse(f"web:{name}", args=PAGES[name](alice)), {"format": form} if form else {})
    assert answer.status_code in (200, 400)
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    for word in (bob.project.id, bob.organization.id, bob.endpoint.id, bob.speculator.id, bob.key.id, "bob"):
        assert word.encode() not in content, word


def test_nobody_unsigned_changes_anything(alice: Tenant) -> None:
    before = footprint(alice.organization.id)
    for name, ids in (PAGES | ACTIONS).items():
        assert Client().post(reverse(f"web:{name}", args=ids(alice)), ORDINARY).status_code in (302, 405)
    assert footprint(alice.organization.id) == before
