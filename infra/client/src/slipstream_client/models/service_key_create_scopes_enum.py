from __future__ import annotations

from enum import StrEnum


class ServiceKeyCreateScopesEnum(StrEnum):
    """A value that is not listed comes from a newer service; it is kept as it is."""

    API_KEYREAD = "api_key:read"
    API_KEYWRITE = "api_key:write"
    AUDITREAD = "audit:read"
    ENDPOINTREAD = "endpoint:read"
    ENDPOINTWRITE = "endpoint:write"
    MEMBERREAD = "member:read"
    MEMBERWRITE = "member:write"
    ORGANIZATIONREAD = "organization:read"
    ORGANIZATIONSECURITY = "organization:security"
    ORGANIZATIONWRITE = "organization:write"
    PROJECTREAD = "project:read"
    PROJECTWRITE = "project:write"
    SERVICE_KEYREAD = "service_key:read"
    SERVICE_KEYWRITE = "service_key:write"
    SPECULATOREXPORT = "speculator:export"
    SPECULATORREAD = "speculator:read"
    SPECULATORWRITE = "speculator:write"
    STATEMENTREAD = "statement:read"
    TRAFFICDELETE = "traffic:delete"
    TRAFFICEXPORT = "traffic:export"
    TRAFFIC_POLICYREAD = "traffic_policy:read"
    TRAFFIC_POLICYWRITE = "traffic_policy:write"
    TRAININGREAD = "training:read"
    TRAININGWRITE = "training:write"
    USAGEREAD = "usage:read"
    WEBHOOKREAD = "webhook:read"
    WEBHOOKWRITE = "webhook:write"

    @classmethod
    def _missing_(cls, value: object) -> ServiceKeyCreateScopesEnum | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member
