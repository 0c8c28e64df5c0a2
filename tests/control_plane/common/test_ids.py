from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.common.ids import InvalidId, decode, encode, new_id, uuid7


@given(st.uuids())
def test_an_id_reads_back_as_the_uuid_that_it_was_made_of(value: uuid.UUID) -> None:
    assert decode("prj", encode("prj", value)) == value


@given(st.uuids(), st.uuids())
def test_ids_sort_as_their_uuids_do(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (encode("prj", one) < encode("prj", other)) == (one < other)


def test_a_new_uuid_is_version_7_of_the_rfc_variant() -> None:
    value = uuid7()
    assert (value.version, value.variant) == (7, uuid.RFC_4122)


@given(st.text(max_size=40))
def test_any_text_is_an_id_or_an_error(text: str) -> None:
    try:
        assert encode("prj", decode("prj", text)) == text
    except InvalidId:
        pass


@pytest.mark.parametrize("text", ["", "prj", "prj_", "org_" + "0" * 26, "prj_8" + "0" * 25, "prj_" + "u" * 26])
def test_what_is_no_project_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidId):
        decode("prj", text)


def test_no_two_ids_are_equal() -> None:
    assert len({new_id("prj") for _ in range(1000)}) == 1000
