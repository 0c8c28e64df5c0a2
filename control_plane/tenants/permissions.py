"""The one table of who may do what. The API, the dashboard and service keys all read it."""

from __future__ import annotations

OWNER, ADMIN, DEVELOPER, BILLING, VIEWER = ROLES = ("owner", "admin", "developer", "billing", "viewer")

_ALL = frozenset(ROLES)
_MANAGE = frozenset({OWNER, ADMIN})
_BUILD = frozenset({OWNER, ADMIN, DEVELOPER})
_SEE_TECHNICAL = frozenset({OWNER, ADMIN, DEVELOPER, VIEWER})
_SEE_MONEY = frozenset({OWNER, ADMIN, BILLING})

PERMISSIONS: dict[str, frozenset[str]] = {
    "organization:read": _ALL,
    "organization:write": _MANAGE,
    "organization:security": frozenset({OWNER}),
    "project:read": _ALL,
    "project:write": _MANAGE,
    "member:read": _ALL,
    "member:write": _MANAGE,
    "api_key:read": _SEE_TECHNICAL,
    "api_key:write": _BUILD,
    "service_key:read": _MANAGE,
    "service_key:write": _MANAGE,
    "endpoint:read": _SEE_TECHNICAL,
    "endpoint:write": _BUILD,
    "traffic_policy:read": _ALL,
    "traffic_policy:write": _MANAGE,
    "traffic:delete": _MANAGE,
    "traffic:export": _MANAGE,
    "speculator:read": _SEE_TECHNICAL,
    "speculator:write": _BUILD,
    "speculator:export": _BUILD,
    "training:read": _SEE_TECHNICAL,
    "training:write": _BUILD,
    "usage:read": _ALL,
    "statement:read": _SEE_MONEY,
    "audit:read": _MANAGE,
    "webhook:read": _MANAGE,
    "webhook:write": _MANAGE,
}


def allows(role: str, permission: str) -> bool:
    """Whether the role has the permission. An unknown permission is a defect and raises KeyError."""
    return role in PERMISSIONS[permission]


def outranks(role: str, other: str) -> bool:
    """Whether someone with `role` may give or take `other`: nobody gives more than they have."""
    if role == OWNER:
        return True
    return role == ADMIN and other != OWNER
