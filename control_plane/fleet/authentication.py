"""Nodes prove themselves with `Authorization: Node <node_id>:<credential>`; nothing else opens their paths."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery
from django.utils import timezone
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from control_plane.common.ids import InvalidId
from control_plane.fleet.models import Node
from control_plane.fleet.registration import credential_digest
from control_plane.tenants.models import NodeSnapshot


@dataclass(frozen=True, slots=True)
class NodePrincipal:
    """A node, and the generation that it should have, read by the same query."""

    node: Node
    generation: int
    is_authenticated: bool = True

    @property
    def actor(self) -> str:
        return str(self.node.id)


class NodeAuthentication(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[NodePrincipal, None]:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        node_id, _, credential = rest.strip().partition(":")
        if scheme.lower() != "node" or not credential:
            raise exceptions.NotAuthenticated("Nodes authenticate with `Node <node_id>:<credential>`.")
        generation = NodeSnapshot.objects.filter(pk=OuterRef("pk")).values("generation")
        try:
            node = Node.objects.filter(pk=node_id).annotate(generation=Subquery(generation)).first()
        except InvalidId:
            node = None
        if node is None or not _is_credential(node, credential_digest(credential)):
            raise exceptions.AuthenticationFailed("The node or its credential is unknown.")
        if node.credential_revoked_at is not None:
            raise exceptions.AuthenticationFailed("The node's credential was revoked.", code="credential_revoked")
        if (request.parser_context or {}).get("kwargs", {}).get("node_id") != node.id:
            raise exceptions.PermissionDenied("This path is another node's.")
        return NodePrincipal(node, node.generation or 0), None

    def authenticate_header(self, request: Request) -> str:
        return "Node"


def _is_credential(node: Node, digest: str) -> bool:
    """The current credential, or the one before while it still works."""
    if hmac.compare_digest(node.credential_digest, digest):
        return True
    until = node.previous_credential_until
    return until is not None and until > timezone.now() and hmac.compare_digest(node.previous_credential_digest, digest)
