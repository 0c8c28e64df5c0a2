from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.api_key_create_scopes_enum import ApiKeyCreateScopesEnum
from ..models.environment_enum import EnvironmentEnum
from ..types import UNSET, Unset

T = TypeVar("T", bound="ApiKeyCreateRequest")


@_attrs_define
class ApiKeyCreateRequest:
    """A serializer that refuses fields it does not know and, in a body, values of another JSON type.

    Attributes:
        project_id (str):
        name (str):
        environment (EnvironmentEnum | Unset): * `live` - live
            * `test` - test Default: EnvironmentEnum.LIVE.
        scopes (list[ApiKeyCreateScopesEnum] | Unset): `inference:read` lists models, `inference:write` generates.
        endpoints (list[str] | Unset): Names of the endpoints that the key may call; empty: all of the project's.
        allowed_ips (list[str] | Unset): Addresses and networks (CIDR) that the key may be used from; empty: everywhere.
        expires_at (datetime.datetime | None | Unset):
    """

    project_id: str
    name: str
    environment: EnvironmentEnum | Unset = EnvironmentEnum.LIVE
    scopes: list[ApiKeyCreateScopesEnum] | Unset = UNSET
    endpoints: list[str] | Unset = UNSET
    allowed_ips: list[str] | Unset = UNSET
    expires_at: datetime.datetime | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        project_id = self.project_id

        name = self.name

        environment: str | Unset = UNSET
        if not isinstance(self.environment, Unset):
            environment = self.environment.value

        scopes: list[str] | Unset = UNSET
        if not isinstance(self.scopes, Unset):
            scopes = []
            for scopes_item_data in self.scopes:
                scopes_item = scopes_item_data.value
                scopes.append(scopes_item)

        endpoints: list[str] | Unset = UNSET
        if not isinstance(self.endpoints, Unset):
            endpoints = self.endpoints

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
                "project_id": project_id,
                "name": name,
            }
        )
        if environment is not UNSET:
            field_dict["environment"] = environment
        if scopes is not UNSET:
            field_dict["scopes"] = scopes
        if endpoints is not UNSET:
            field_dict["endpoints"] = endpoints
        if allowed_ips is not UNSET:
            field_dict["allowed_ips"] = allowed_ips
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        project_id = d.pop("project_id")

        name = d.pop("name")

        _environment = d.pop("environment", UNSET)
        environment: EnvironmentEnum | Unset
        if isinstance(_environment, Unset):
            environment = UNSET
        else:
            environment = EnvironmentEnum(_environment)

        _scopes = d.pop("scopes", UNSET)
        scopes: list[ApiKeyCreateScopesEnum] | Unset = UNSET
        if _scopes is not UNSET:
            scopes = []
            for scopes_item_data in _scopes:
                scopes_item = ApiKeyCreateScopesEnum(scopes_item_data)

                scopes.append(scopes_item)

        endpoints = cast(list[str], d.pop("endpoints", UNSET))

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

        api_key_create_request = cls(
            project_id=project_id,
            name=name,
            environment=environment,
            scopes=scopes,
            endpoints=endpoints,
            allowed_ips=allowed_ips,
            expires_at=expires_at,
        )

        return api_key_create_request
