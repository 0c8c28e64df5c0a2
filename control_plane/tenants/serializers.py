"""What the tenants' API reads and writes. No logic: services decide."""

from __future__ import annotations

import ipaddress
from typing import Any

from rest_framework import serializers

from control_plane.common.pagination import PageQuery
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField
from control_plane.tenants.models import INFERENCE_SCOPES, inference_scopes
from control_plane.tenants.permissions import PERMISSIONS, ROLES

_LIMIT: dict[str, Any] = {"min_value": 1, "max_value": 2_000_000_000, "allow_null": True, "required": False}


class NameBody(StrictSerializer):
    name = serializers.CharField(max_length=120)


class OrganizationUpdate(StrictSerializer):
    name = serializers.CharField(max_length=120, required=False)
    requires_second_factor = serializers.BooleanField(
        required=False,
        help_text="Owners only. Members without a second factor then see nothing of the organization until they set "
        "one up; a person who switches it on must have one (409 `second_factor_missing`). Keys are not concerned.",
    )


class OrganizationSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    requires_second_factor = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class OrganizationQuery(PageQuery):
    organization_id = TypedIdSerializerField("org", required=False)


class ProjectQuery(PageQuery):
    project_id = TypedIdSerializerField("prj", required=False)


class ProjectLimits(StrictSerializer):
    """Admission limits on each node; null: none."""

    requests_per_minute = serializers.IntegerField(**_LIMIT)
    tokens_per_minute = serializers.IntegerField(**_LIMIT)
    max_concurrent_requests = serializers.IntegerField(**_LIMIT)


class ProjectCreate(ProjectLimits):
    organization_id = TypedIdSerializerField("org")
    name = serializers.CharField(max_length=120)


class ProjectUpdate(ProjectLimits):
    name = serializers.CharField(max_length=120, required=False)


class ProjectSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    name = serializers.CharField()
    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    max_concurrent_requests = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()


class MemberUpdate(StrictSerializer):
    role = serializers.ChoiceField(ROLES)


class MemberSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    user_id = serializers.CharField()
    email = serializers.CharField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(ROLES)
    created_at = serializers.DateTimeField()


class InvitationCreate(StrictSerializer):
    email = serializers.EmailField()
    role = serializers.ChoiceField(ROLES)


class InvitationAccept(StrictSerializer):
    token = serializers.CharField(max_length=200, help_text="The last part of the link in the mail, `sli_…`.")


class InvitationSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    email = serializers.CharField()
    role = serializers.ChoiceField(ROLES)
    state = serializers.ChoiceField(["pending", "accepted", "revoked", "expired"])
    invited_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    accepted_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class PermissionSerializer(serializers.Serializer[Any]):
    permission = serializers.CharField()
    roles = serializers.ListField(child=serializers.ChoiceField(ROLES))


class PermissionsSerializer(serializers.Serializer[Any]):
    data = PermissionSerializer(many=True)  # type: ignore[assignment]  # the field of that name, not the property


class NetworkField(serializers.CharField):
    """An address or a network: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            return str(ipaddress.ip_network(text))
        except ValueError as error:
            raise serializers.ValidationError(
                "This must be an IP address or a network such as 192.0.2.0/24.", code="invalid_network"
            ) from error


def _networks() -> serializers.ListField:
    return serializers.ListField(
        child=NetworkField(max_length=64),
        default=list,
        max_length=64,
        help_text="Addresses and networks (CIDR) that the key may be used from; empty: everywhere.",
    )


class ApiKeyCreate(StrictSerializer):
    project_id = TypedIdSerializerField("prj")
    name = serializers.CharField(max_length=120)
    environment = serializers.ChoiceField(["live", "test"], default="live")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(INFERENCE_SCOPES),
        default=inference_scopes,
        min_length=1,
        max_length=len(INFERENCE_SCOPES),
        error_messages={"min_length": "Choose one at least."},
        help_text="`inference:read` lists models, `inference:write` generates.",
    )
    endpoints = serializers.ListField(
        child=serializers.CharField(max_length=63),
        default=list,
        max_length=64,
        help_text="Names of the endpoints that the key may call; empty: all of the project's.",
    )
    allowed_ips = _networks()
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class KeyRotate(StrictSerializer):
    overlap_seconds = serializers.IntegerField(min_value=0, max_value=30 * 86_400, default=86_400)


class KeySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    name = serializers.CharField()
    public_id = serializers.CharField()
    last_four = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class ApiKeySerializer(KeySerializer):
    project_id = serializers.CharField()
    environment = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    endpoints = serializers.ListField(child=serializers.CharField())
    allowed_ips = serializers.ListField(child=serializers.CharField())


class ServiceAccountCreate(StrictSerializer):
    organization_id = TypedIdSerializerField("org")
    name = serializers.CharField(max_length=120)
    role = serializers.ChoiceField(ROLES)


class ServiceAccountUpdate(StrictSerializer):
    name = serializers.CharField(max_length=120, required=False)
    role = serializers.ChoiceField(ROLES, required=False)
    disabled = serializers.BooleanField(required=False, help_text="True: all of its keys are refused.")


class ServiceAccountSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    organization_id = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(ROLES)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    disabled_at = serializers.DateTimeField(allow_null=True)


class ServiceKeyCreate(StrictSerializer):
    organization_id = TypedIdSerializerField("org")
    name = serializers.CharField(max_length=120)
    service_account_id = TypedIdSerializerField("sva", required=False, allow_null=True)
    role = serializers.ChoiceField(
        ROLES, required=False, allow_null=True, help_text="Instead of an account: one of the key's own, with this role."
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(sorted(PERMISSIONS)),
        default=list,
        help_text="Permissions that the key has of those of the account's role; empty: all.",
    )
    allowed_ips = _networks()
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ServiceKeySerializer(KeySerializer):
    service_account_id = serializers.CharField(source="account_id")
    role = serializers.ChoiceField(ROLES)
    scopes = serializers.ListField(child=serializers.CharField())
    allowed_ips = serializers.ListField(child=serializers.CharField())
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(allow_null=True, help_text="The key itself, shown this once; null in a replay.")


class NewServiceKeySerializer(ServiceKeySerializer):
    key = serializers.CharField(allow_null=True, help_text="The key itself, shown this once; null in a replay.")
