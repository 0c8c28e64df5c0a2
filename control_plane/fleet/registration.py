"""Who is a node: one-time registration tokens, and credentials that the nodes make and change themselves.

The node draws its own credential and keeps it on its disk *before* it tells us: whatever is lost on the way, the call
can be repeated with the same words and has the same result. We store digests only.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from control_plane.common.errors import Conflict, Forbidden, Invalid
from control_plane.common.states import can_move, record_event, transition
from control_plane.fleet import operations, placement
from control_plane.fleet.models import Node, NodeToken
from control_plane.tenants import key_format
from control_plane.tenants.models import NodeSnapshot

LONGEST_TOKEN_SECONDS = 24 * 3600
# How long the credential before a rotation still works.
OVERLAP = timedelta(minutes=10)
# A node of one of these states has given its name free.
_REPLACEABLE = ("lost", "drained")


def credential_digest(credential: str) -> str:
    return key_format.digest(credential, settings.SLIPSTREAM_KEY_PEPPER)


@transaction.atomic
def create_token(
    *, node_name: str = "", model: str = "", valid_seconds: int = 3600, actor: str, request_id: str = ""
) -> tuple[NodeToken, str]:
    """The token's row and its text, which exists nowhere else from now on."""
    if not 60 <= valid_seconds <= LONGEST_TOKEN_SECONDS:
        raise Invalid(f"A token is valid for 60 to {LONGEST_TOKEN_SECONDS} seconds.", pointer="/valid_seconds")
    new = key_format.mint("sln", settings.SLIPSTREAM_KEY_PEPPER)
    token = NodeToken.objects.create(
        public_id=new.public_id,
        digest=new.digest,
        node_name=node_name,
        model=model,
        created_by=actor,
        expires_at=timezone.now() + timedelta(seconds=valid_seconds),
    )
    changes = {"node_name": node_name, "model": model, "valid_seconds": valid_seconds}
    operations.audit(actor=actor, action="node_token.create", target=token.id, changes=changes, request_id=request_id)
    return token, new.text


@transaction.atomic
def revoke_token(token: NodeToken, *, actor: str, request_id: str = "") -> NodeToken:
    """From now on nobody registers with it. Raises Conflict when a node has: revoke that node's credential."""
    locked = NodeToken.objects.select_for_update().get(pk=token.pk)
    if locked.used_at is not None:
        raise Conflict("A node has registered with this token; revoke the node's credential.", code="token_used")
    if locked.revoked_at is None:
        locked.revoked_at = timezone.now()
        locked.save(update_fields=["revoked_at"])
        operations.audit(actor=actor, action="node_token.revoke", target=locked.id, request_id=request_id)
    return locked


@transaction.atomic
def register(
    token_text: str,
    *,
    name: str,
    boot_id: str,
    engine: str,
    model: str,
    model_sha256: str = "",
    address: str = "",
    credential: str = "",
    max_projects: int | None = None,
    adaptive_bytes: int | None = None,
) -> tuple[Node, str]:
    """The node of this name, new or taken over, with the credential that it drew (or a fresh one).

    The token is used up in the same transaction. Using it again with the same name and credential has the same
    result. Raises Forbidden for a token that is not good for this, Conflict while a live node has the name.
    """
    placement.lock(model)
    token = _good_token(token_text, name=name, model=model)
    node = Node.objects.select_for_update().filter(name=name).first()
    digest = credential_digest(credential) if credential else ""
    if token.used_at is not None:
        if node is not None and token.used_by_id == node.id and digest and _same(node.credential_digest, digest):
            return node, credential
        raise Forbidden("The registration token was used before.", code="token_used")
    if node is not None and node.state not in _REPLACEABLE:
        raise Conflict("A live node has this name: drain it, or revoke its credential.", code="name_in_use")
    credential = credential or secrets.token_urlsafe(32)
    values = {
        "boot_id": boot_id,
        "engine": engine,
        "model": model,
        "model_sha256": model_sha256,
        "address": address,
        "credential_digest": credential_digest(credential),
        "credential_issued_at": timezone.now(),
        "previous_credential_until": None,
        "credential_revoked_at": None,
        "applied_generation": 0,
        "last_seen_at": timezone.now(),
        "loaded": [],
        "desired": "serving",
    }
    values |= {"max_projects": max_projects} if max_projects is not None else {}
    values |= {"adaptive_bytes": adaptive_bytes} if adaptive_bytes is not None else {}
    node = _take_over(node, values) if node is not None else _found(name, values)
    NodeToken.objects.filter(pk=token.pk).update(used_at=timezone.now(), used_by=node)
    placement.place(model)
    return node, credential


def _found(name: str, values: dict[str, object]) -> Node:
    node = Node.objects.create(name=name, state="registering", **values)
    NodeSnapshot.objects.create(pk=node.pk)
    record_event(node, before="", code="registered")
    return node


def _take_over(node: Node, values: dict[str, object]) -> Node:
    if node.model != values["model"]:
        placement.clear(node.id)
    if node.boot_id != values["boot_id"]:
        record_event(node, before=node.state, code="superseded_boot", message=node.boot_id)
    for field, value in values.items():
        setattr(node, field, value)
    node.save(update_fields=list(values))
    if can_move(node, "registering"):
        transition(node, "registering", code="registered_again", message=f"boot {node.boot_id}")
    return node


def _good_token(text: str, *, name: str, model: str) -> NodeToken:
    """The token's row, locked; it may have been used. Raises Forbidden."""
    public_id = key_format.public_id_of(text, "sln")
    token = NodeToken.objects.select_for_update().filter(public_id=public_id).first() if public_id else None
    expected = key_format.digest(text, settings.SLIPSTREAM_KEY_PEPPER)
    if token is None or not _same(token.digest, expected) or token.state in ("revoked", "expired"):
        raise Forbidden("The registration token is unknown, revoked or expired.", code="bad_token")
    if token.node_name not in ("", name) or token.model not in ("", model):
        raise Forbidden("The registration token is for another node or model.", code="bad_token")
    return token


@transaction.atomic
def rotate_credential(node: Node, credential: str) -> Node:
    """From now on the node's credential is this one; the one before works for OVERLAP more. Repeating changes nothing.

    The caller has proved itself with either of the two.
    """
    locked = Node.objects.select_for_update().get(pk=node.pk)
    digest = credential_digest(credential)
    if _same(locked.credential_digest, digest):
        return locked
    locked.previous_credential_digest = locked.credential_digest
    locked.previous_credential_until = timezone.now() + OVERLAP
    locked.credential_digest, locked.credential_issued_at = digest, timezone.now()
    locked.save(
        update_fields=[
            "previous_credential_digest",
            "previous_credential_until",
            "credential_digest",
            "credential_issued_at",
        ]
    )
    record_event(locked, before=locked.state, code="credential_rotated")
    return locked


@transaction.atomic
def revoke_credential(node: Node, *, actor: str, request_id: str = "") -> Node:
    """The node is told to stop serving at its next call and is lost to us: its name can be registered again."""
    locked = Node.objects.select_for_update().get(pk=node.pk)
    if locked.credential_revoked_at is not None:
        return locked
    locked.credential_revoked_at, locked.previous_credential_until = timezone.now(), None
    locked.save(update_fields=["credential_revoked_at", "previous_credential_until"])
    if locked.state != "lost":
        transition(locked, "lost", code="credential_revoked", actor=actor)
    operations.audit(actor=actor, action="node.revoke_credential", target=locked.id, request_id=request_id)
    return locked


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left, right)
