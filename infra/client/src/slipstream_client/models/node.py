from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.desired_enum import DesiredEnum
from ..models.node_state_enum import NodeStateEnum

if TYPE_CHECKING:
    from ..models.loaded import Loaded
    from ..models.sequence import Sequence


T = TypeVar("T", bound="Node")


@_attrs_define
class Node:
    """
    Attributes:
        id (str):
        name (str):
        state (NodeStateEnum): * `cordoned` - cordoned
            * `drained` - drained
            * `draining` - draining
            * `lost` - lost
            * `not_ready` - not_ready
            * `ready` - ready
            * `registering` - registering
        state_code (str):
        state_message (str):
        desired (DesiredEnum): * `serving` - serving
            * `cordoned` - cordoned
            * `drained` - drained
        boot_id (str):
        engine (str):
        model (str):
        model_sha256 (str):
        address (str):
        applied_generation (int):
        last_seen_at (datetime.datetime):
        loaded (list[Loaded]):
        running_requests (int):
        waiting_requests (int):
        slots (int): Requests that it runs at once; 0: it doesn't say.
        usage_spooled (int):
        traffic_dropped (int):
        registered_at (datetime.datetime):
        credential_issued_at (datetime.datetime):
        credential_revoked_at (datetime.datetime | None):
        max_projects (int):
        placed_projects (int):
        adaptive_bytes (int): Memory for projects' own speculator versions.
        resident_projects (int): Projects whose own version may be loaded.
        usage_sequences (list[Sequence]):
    """

    id: str
    name: str
    state: NodeStateEnum
    state_code: str
    state_message: str
    desired: DesiredEnum
    boot_id: str
    engine: str
    model: str
    model_sha256: str
    address: str
    applied_generation: int
    last_seen_at: datetime.datetime
    loaded: list[Loaded]
    running_requests: int
    waiting_requests: int
    slots: int
    usage_spooled: int
    traffic_dropped: int
    registered_at: datetime.datetime
    credential_issued_at: datetime.datetime
    credential_revoked_at: datetime.datetime | None
    max_projects: int
    placed_projects: int
    adaptive_bytes: int
    resident_projects: int
    usage_sequences: list[Sequence]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        name = self.name

        state = self.state.value

        state_code = self.state_code

        state_message = self.state_message

        desired = self.desired.value

        boot_id = self.boot_id

        engine = self.engine

        model = self.model

        model_sha256 = self.model_sha256

        address = self.address

        applied_generation = self.applied_generation

        last_seen_at = self.last_seen_at.isoformat()

        loaded = []
        for loaded_item_data in self.loaded:
            loaded_item = loaded_item_data.to_dict()
            loaded.append(loaded_item)

        running_requests = self.running_requests

        waiting_requests = self.waiting_requests

        slots = self.slots

        usage_spooled = self.usage_spooled

        traffic_dropped = self.traffic_dropped

        registered_at = self.registered_at.isoformat()

        credential_issued_at = self.credential_issued_at.isoformat()

        credential_revoked_at: None | str
        if isinstance(self.credential_revoked_at, datetime.datetime):
            credential_revoked_at = self.credential_revoked_at.isoformat()
        else:
            credential_revoked_at = self.credential_revoked_at

        max_projects = self.max_projects

        placed_projects = self.placed_projects

        adaptive_bytes = self.adaptive_bytes

        resident_projects = self.resident_projects

        usage_sequences = []
        for usage_sequences_item_data in self.usage_sequences:
            usage_sequences_item = usage_sequences_item_data.to_dict()
            usage_sequences.append(usage_sequences_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "name": name,
                "state": state,
                "state_code": state_code,
                "state_message": state_message,
                "desired": desired,
                "boot_id": boot_id,
                "engine": engine,
                "model": model,
                "model_sha256": model_sha256,
                "address": address,
                "applied_generation": applied_generation,
                "last_seen_at": last_seen_at,
                "loaded": loaded,
                "running_requests": running_requests,
                "waiting_requests": waiting_requests,
                "slots": slots,
                "usage_spooled": usage_spooled,
                "traffic_dropped": traffic_dropped,
                "registered_at": registered_at,
                "credential_issued_at": credential_issued_at,
                "credential_revoked_at": credential_revoked_at,
                "max_projects": max_projects,
                "placed_projects": placed_projects,
                "adaptive_bytes": adaptive_bytes,
                "resident_projects": resident_projects,
                "usage_sequences": usage_sequences,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.loaded import Loaded  # noqa: PLC0415
        from ..models.sequence import Sequence  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        name = d.pop("name")

        state = NodeStateEnum(d.pop("state"))

        state_code = d.pop("state_code")

        state_message = d.pop("state_message")

        desired = DesiredEnum(d.pop("desired"))

        boot_id = d.pop("boot_id")

        engine = d.pop("engine")

        model = d.pop("model")

        model_sha256 = d.pop("model_sha256")

        address = d.pop("address")

        applied_generation = d.pop("applied_generation")

        last_seen_at = datetime.datetime.fromisoformat(d.pop("last_seen_at"))

        loaded = []
        _loaded = d.pop("loaded")
        for loaded_item_data in _loaded:
            loaded_item = Loaded.from_dict(loaded_item_data)

            loaded.append(loaded_item)

        running_requests = d.pop("running_requests")

        waiting_requests = d.pop("waiting_requests")

        slots = d.pop("slots")

        usage_spooled = d.pop("usage_spooled")

        traffic_dropped = d.pop("traffic_dropped")

        registered_at = datetime.datetime.fromisoformat(d.pop("registered_at"))

        credential_issued_at = datetime.datetime.fromisoformat(d.pop("credential_issued_at"))

        def _parse_credential_revoked_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                credential_revoked_at_type_0 = datetime.datetime.fromisoformat(data)

                return credential_revoked_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        credential_revoked_at = _parse_credential_revoked_at(d.pop("credential_revoked_at"))

        max_projects = d.pop("max_projects")

        placed_projects = d.pop("placed_projects")

        adaptive_bytes = d.pop("adaptive_bytes")

        resident_projects = d.pop("resident_projects")

        usage_sequences = []
        _usage_sequences = d.pop("usage_sequences")
        for usage_sequences_item_data in _usage_sequences:
            usage_sequences_item = Sequence.from_dict(usage_sequences_item_data)

            usage_sequences.append(usage_sequences_item)

        node = cls(
            id=id,
            name=name,
            state=state,
            state_code=state_code,
            state_message=state_message,
            desired=desired,
            boot_id=boot_id,
            engine=engine,
            model=model,
            model_sha256=model_sha256,
            address=address,
            applied_generation=applied_generation,
            last_seen_at=last_seen_at,
            loaded=loaded,
            running_requests=running_requests,
            waiting_requests=waiting_requests,
            slots=slots,
            usage_spooled=usage_spooled,
            traffic_dropped=traffic_dropped,
            registered_at=registered_at,
            credential_issued_at=credential_issued_at,
            credential_revoked_at=credential_revoked_at,
            max_projects=max_projects,
            placed_projects=placed_projects,
            adaptive_bytes=adaptive_bytes,
            resident_projects=resident_projects,
            usage_sequences=usage_sequences,
        )

        node.additional_properties = d
        return node

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
