from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.role_enum import RoleEnum
from ..models.service_key_create_scopes_enum import ServiceKeyCreateScopesEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="ServiceKeyCreateRequest")


@_attrs_define
class ServiceKeyCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        organization_id (str):
        name (str):
        service_account_id (None | str | Unset):
        role (None | RoleEnum | Unset): Instead of an account: one of the key's own, with this role.

            * `owner` - owner
            * `admin` - admin
            * `developer` - developer
            * `billing` - billing
            * `viewer` - viewer
        scopes (list[ServiceKeyCreateScopesEnum] | Unset): Permissions that the key has of those of the account's role;
            empty: all.
        allowed_ips (list[str] | Unset): Addresses and networks (CIDR) that the key may be used from; empty: everywhere.
        expires_at (datetime.datetime | None | Unset):
    """

    organization_id: str
    name: str
    service_account_id: None | str | Unset = UNSET
    role: None | RoleEnum | Unset = UNSET
    scopes: list[ServiceKeyCreateScopesEnum] | Unset = UNSET
    allowed_ips: list[str] | Unset = UNSET
    expires_at: datetime.datetime | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        organization_id = self.organization_id

        name = self.name

        service_account_id: None | str | Unset
        if isinstance(self.service_account_id, Unset):
            service_account_id = UNSET
        else:
            service_account_id = self.service_account_id

        role: None | str | Unset
        if isinstance(self.role, Unset):
            role = UNSET
        elif isinstance(self.role, RoleEnum):
            role = self.role.value
        else:
            role = self.role

        scopes: list[str] | Unset = UNSET
        if not isinstance(self.scopes, Unset):
            scopes = []
            for scopes_item_data in self.scopes:
                scopes_item = scopes_item_data.value
                scopes.append(scopes_item)

        allowed_ips: list[str] | Unset = UNSET
        if not isinstance(self.allowed_ips, Unset):
            allowed_ips = self.allowed_ips

        expires_at: None | str | Unset
        if isinstance(self.expires_at, Unset):
            expires_at = UNSET
        elif isinstance(self.expires_at, datetime.datetime):
            expires_at = self.expires_at.isoformat()
        else:
            expires_at = self.expires_at

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "organization_id": organization_id,
                "name": name,
            }
        )
        if service_account_id is not UNSET:
            field_dict["service_account_id"] = service_account_id
        if role is not UNSET:
            field_dict["role"] = role
        if scopes is not UNSET:
            field_dict["scopes"] = scopes
        if allowed_ips is not UNSET:
            field_dict["allowed_ips"] = allowed_ips
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        organization_id = d.pop("organization_id")

        name = d.pop("name")

        def _parse_service_account_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        service_account_id = _parse_service_account_id(d.pop("service_account_id", UNSET))

        def _parse_role(data: object) -> None | RoleEnum | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                role_type_0 = RoleEnum(data)

                return role_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RoleEnum | Unset, data)

        role = _parse_role(d.pop("role", UNSET))

        _scopes = d.pop("scopes", UNSET)
        scopes: list[ServiceKeyCreateScopesEnum] | Unset = UNSET
        if _scopes is not UNSET:
            scopes = []
            for scopes_item_data in _scopes:
                scopes_item = ServiceKeyCreateScopesEnum(scopes_item_data)

                scopes.append(scopes_item)

        allowed_ips = cast(list[str], d.pop("allowed_ips", UNSET))

        def _parse_expires_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        expires_at = _parse_expires_at(d.pop("expires_at", UNSET))

        service_key_create_request = cls(
            organization_id=organization_id,
            name=name,
            service_account_id=service_account_id,
            role=role,
            scopes=scopes,
            allowed_ips=allowed_ips,
            expires_at=expires_at,
        )

        return service_key_create_request
