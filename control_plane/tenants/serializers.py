"""What the tenants' API reads and writes. No logic: services decide."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from control_plane.common.pagination import PageQuery
from control_plane.common.parsing import StrictSerializer, TypedIdSerializerField
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


class MemberCreate(StrictSerializer):
    email = serializers.EmailField()
    role = serializers.ChoiceField(ROLES)
    password = serializers.CharField(
        required=False, max_length=200, help_text="First password of somebody who has no account yet."
    )


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


class ApiKeyCreate(StrictSerializer):
    project_id = TypedIdSerializerField("prj")
    name = serializers.CharField(max_length=120)
    environment = serializers.ChoiceField(["live", "test"], default="live")
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ApiKeyRotate(StrictSerializer):
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


class ServiceKeyCreate(StrictSerializer):
    organization_id = TypedIdSerializerField("org")
    name = serializers.CharField(max_length=120)
    role = serializers.ChoiceField(ROLES)
    scopes = serializers.ListField(child=serializers.ChoiceField(sorted(PERMISSIONS)), default=list)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ServiceKeySerializer(KeySerializer):
    role = serializers.ChoiceField(ROLES)
    scopes = serializers.ListField(child=serializers.CharField())
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(allow_null=True, help_text="The key itself, shown this once; null in a replay.")


class NewServiceKeySerializer(ServiceKeySerializer):
    key = serializers.CharField(allow_null=True, help_text="The key itself, shown this once; null in a replay.")
