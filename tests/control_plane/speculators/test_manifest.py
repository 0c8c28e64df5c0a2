import base64
import dataclasses

import pytest

from control_plane.speculators.manifest import SigningKey, SigningKeyError, encode, is_authentic, sign
from dataplane.contracts import ArtifactFile, Manifest, SignedManifest, from_dict

KEY = SigningKey.from_base64(base64.b64encode(bytes(range(32))).decode())
MANIFEST = Manifest(
    speculator_version_id="spv_1",
    speculator_id="spk_1",
    project_id="prj_1",
    number=1,
    target_model="smollm2",
    static_sha256="a" * 64,
    file=ArtifactFile("projects/prj_1/speculators/b.safetensors", "b" * 64, 10),
    created_at="2026-01-01T00:00:00Z",
)


def test_a_signed_manifest_is_authentic_also_after_the_wire():
    import json

    signed = sign(MANIFEST, KEY)
    assert is_authentic(signed, {KEY.key_id: KEY.public_base64})
    assert is_authentic(from_dict(SignedManifest, json.loads(encode(signed))), {KEY.key_id: KEY.public_base64})


@pytest.mark.parametrize("change", [{"project_id": "prj_2"}, {"number": 2}, {"static_sha256": "c" * 64}])
def test_changing_any_signed_field_breaks_the_signature(change):
    signed = sign(MANIFEST, KEY)
    forged = dataclasses.replace(signed, manifest=dataclasses.replace(MANIFEST, **change))
    assert not is_authentic(forged, {KEY.key_id: KEY.public_base64})


def test_an_unknown_or_other_key_is_not_trusted():
    other = SigningKey.from_base64(base64.b64encode(bytes(32)).decode(), KEY.key_id)
    signed = sign(MANIFEST, KEY)
    assert not is_authentic(signed, {})
    assert not is_authentic(signed, {KEY.key_id: other.public_base64})
    assert not is_authentic(dataclasses.replace(signed, signature="???"), {KEY.key_id: KEY.public_base64})


def test_key_ids_follow_the_public_key_unless_given():
    same = SigningKey.from_base64(base64.b64encode(bytes(range(32))).decode())
    assert same.key_id == KEY.key_id
    assert SigningKey.from_base64(base64.b64encode(bytes(32)).decode(), "k1").key_id == "k1"


@pytest.mark.parametrize("seed", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_bad_signing_key_is_a_clear_error(seed):
    with pytest.raises(SigningKeyError, match="SLIPSTREAM_SIGNING_KEY"):
        SigningKey.from_base64(seed)
