"""/api/v1: members of an organization, invitations, and the table of who may do what."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from control_plane.common.errors import Forbidden
from control_plane.common.pagination import PageQuery, page, page_body, page_schema
from control_plane.common.parsing import read_body
from control_plane.common.views import ApiView
from control_plane.tenants import invitations, models, selectors, services
from control_plane.tenants.models import Membership, User
from control_plane.tenants.permissions import PERMISSIONS, ROLES
from control_plane.tenants.serializers import (
    InvitationAccept,
    InvitationCreate,
    InvitationSerializer,
    MemberSerializer,
    MemberUpdate,
    PermissionsSerializer,
)


class Permissions(ApiView):
    @extend_schema(
        operation_id="list_permissions",
        responses=PermissionsSerializer,
        description="Every permission, with the roles that have it. The same for everybody.",
    )
    def get(self, request: Request) -> Response:
        rows = [
            {"permission": name, "roles": [role for role in ROLES if role in allowed]}
            for name, allowed in PERMISSIONS.items()
        ]
        return Response({"data": rows})


class Members(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_members", responses=page_schema(MemberSerializer))
    def get(self, request: Request, organization_id: str) -> Response:
        rows, cursor = page(selectors.memberships(self.principal, organization_id), **self.query)
        return Response(page_body(MemberSerializer(rows, many=True).data, cursor))


class Member(ApiView):
    @extend_schema(operation_id="change_member_role", request=MemberUpdate, responses=MemberSerializer)
    def patch(self, request: Request, organization_id: str, member_id: str) -> Response:
        found = self._find(organization_id, member_id)
        self.principal.require_recent_authentication()
        body = read_body(MemberUpdate, request)
        changed = services.change_role(found, body["role"], principal=self.principal, request_id=self.request_id)
        return Response(MemberSerializer(changed).data)

    @extend_schema(operation_id="remove_member", responses={204: None})
    def delete(self, request: Request, organization_id: str, member_id: str) -> Response:
        found = self._find(organization_id, member_id)
        self.principal.require_recent_authentication()
        services.remove_member(found, principal=self.principal, request_id=self.request_id)
        return Response(status=204)

    def _find(self, organization_id: str, member_id: str) -> Membership:
        rows = selectors.memberships(self.principal, organization_id, "member:write")
        return selectors.one_or_404(rows, member_id)


class Invitations(ApiView):
    queries = {"get": PageQuery}

    @extend_schema(operation_id="list_invitations", responses=page_schema(InvitationSerializer))
    def get(self, request: Request, organization_id: str) -> Response:
        rows, cursor = page(selectors.invitations(self.principal, organization_id), **self.query)
        return Response(page_body(InvitationSerializer(rows, many=True).data, cursor))

    @extend_schema(
        operation_id="create_invitation",
        request=InvitationCreate,
        responses={201: InvitationSerializer},
        description="Ask somebody to join, by a mail with a link that holds for seven days and for one person. "
        "Nobody gives more than they have.",
    )
    def post(self, request: Request, organization_id: str) -> Response:
        found = selectors.organization(self.principal, organization_id, "member:write")
        self.principal.require_recent_authentication()
        body = read_body(InvitationCreate, request)
        made = invitations.invite(found, principal=self.principal, request_id=self.request_id, **body)
        return Response(InvitationSerializer(made).data, status=201)


class Invitation(ApiView):
    @extend_schema(operation_id="read_invitation", responses=InvitationSerializer)
    def get(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        rows = selectors.invitations(self.principal, organization_id)
        return Response(InvitationSerializer(selectors.one_or_404(rows, invitation_id)).data)

    @extend_schema(operation_id="revoke_invitation", responses={200: InvitationSerializer})
    def delete(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        found = find_invitation(self, organization_id, invitation_id)
        revoked = invitations.revoke(found, principal=self.principal, request_id=self.request_id)
        return Response(InvitationSerializer(revoked).data)


class InvitationMail(ApiView):
    @extend_schema(
        operation_id="resend_invitation",
        request=None,
        responses={200: InvitationSerializer},
        description="Mail it again with a new link; the one before stops working.",
    )
    def post(self, request: Request, organization_id: str, invitation_id: str) -> Response:
        found = find_invitation(self, organization_id, invitation_id)
        self.principal.require_recent_authentication()
        sent = invitations.resend(found, principal=self.principal, request_id=self.request_id)
        return Response(InvitationSerializer(sent).data)


class AcceptedInvitation(ApiView):
    @extend_schema(
        operation_id="accept_invitation",
        request=InvitationAccept,
        responses={201: MemberSerializer},
        description="Join as the signed-in person, whose verified address must be the invited one. Not for keys.",
    )
    def post(self, request: Request) -> Response:
        body = read_body(InvitationAccept, request)
        user = User.objects.filter(pk=self.principal.actor).first() if self.principal.is_person else None
        if user is None:
            raise Forbidden("Only a signed-in person can join an organization.")
        made = invitations.accept(body["token"], user=user, request_id=self.request_id)
        self.principal.will_need("member:read", made.organization_id)
        return Response(MemberSerializer(made).data, status=201)


def find_invitation(view: ApiView, organization_id: str, invitation_id: str) -> models.Invitation:
    """To change it. Raises NotFound, Forbidden."""
    rows = selectors.invitations(view.principal, organization_id, "member:write")
    return selectors.one_or_404(rows, invitation_id)


urlpatterns = [
    path("permissions", Permissions.as_view()),
    path("organizations/<str:organization_id>/members", Members.as_view()),
    path("organizations/<str:organization_id>/members/<str:member_id>", Member.as_view()),
    path("organizations/<str:organization_id>/invitations", Invitations.as_view()),
    path("organizations/<str:organization_id>/invitations/<str:invitation_id>", Invitation.as_view()),
    path("organizations/<str:organization_id>/invitations/<str:invitation_id>/resend", InvitationMail.as_view()),
    path("invitations/accept", AcceptedInvitation.as_view()),
]
