"""C2PA manifests: read back, their signature and hash valid, and no longer after a change of the bytes."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from wanimage import images
from wanimage.config import Settings
from wanimage.provenance import MODEL_MADE, Signer
from wanimage.v1 import types_pb2

FAMILY = "f" * 64
FORMATS = {
    "image/png": types_pb2.IMAGE_FORMAT_PNG,
    "image/jpeg": types_pb2.IMAGE_FORMAT_JPEG,
    "image/webp": types_pb2.IMAGE_FORMAT_WEBP,
}


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """As C2PA asks: an authority, or a signer's certificate with the right usages."""
    authority = subject == issuer
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )

    def named(name: str) -> x509.Name:
        kinds = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        return x509.Name([x509.NameAttribute(kind, name) for kind in kinds])

    return (
        x509.CertificateBuilder(named(issuer), named(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Settings of a signer with a certificate of an authority of its own; `trusted` is that authority."""
    folder = tmp_path_factory.mktemp("c2pa")
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate("authority", root, "authority", root)
    chain = pem(certificate("signer", key, "authority", root)) + pem(authority)
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    written = {
        "c2pa_cert": chain,
        "c2pa_key": key.private_bytes(serialization.Encoding.PEM, form, plain),
        "trusted": pem(authority),
    }
    for name, data in written.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in written}


@pytest.fixture(scope="module")
def signer(paths: dict[str, Path]) -> Signer:
    settings = Settings(_env_file=None, c2pa_cert=paths["c2pa_cert"], c2pa_key=paths["c2pa_key"])
    found = Signer.of(settings, FAMILY)
    assert found is not None
    return found


def picture(media_type: str) -> bytes:
    """A gradient, encoded."""
    pixels = np.full((64, 64, 4), 255, np.uint8)
    pixels[..., 0] = np.arange(64, dtype=np.uint8) * 4
    return images.encode(pixels, FORMATS[media_type])[0]


def read(data: bytes, media_type: str, trusted: Path) -> dict[str, Any]:
    """What a reader that trusts this authority says."""
    settings = c2pa.Settings.from_dict({"trust": {"trust_anchors": trusted.read_text()}})
    with (
        c2pa.Context(settings) as context,
        c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader,
    ):
        return json.loads(reader.json())


@pytest.mark.parametrize("media_type", FORMATS)
def test_manifest_reads_back_with_a_valid_signature_and_hash(
    signer: Signer, paths: dict[str, Path], media_type: str
) -> None:
    plain = picture(media_type)
    signed = signer.sign(plain, media_type)
    found = read(signed, media_type, paths["trusted"])
    held = found["manifests"][found["active_manifest"]]
    claims = {each["label"].removesuffix(".v2"): each["data"] for each in held["assertions"]}
    codes = {each["code"] for each in found["validation_results"]["activeManifest"]["success"]}
    assert found["validation_state"] == "Trusted"
    assert {"claimSignature.validated", "assertion.dataHash.match"} <= codes
    assert held["claim_generator_info"][0]["name"] == "wanimage"
    assert claims["c2pa.actions"]["actions"][0]["digitalSourceType"] == MODEL_MADE
    assert claims["org.wanimage.family"] == {"sha256": FAMILY}
    assert np.array_equal(images.decode(signed, "picture"), images.decode(plain, "picture"))


@pytest.mark.parametrize("media_type", FORMATS)
def test_a_changed_picture_is_noticed(signer: Signer, paths: dict[str, Path], media_type: str) -> None:
    plain = picture(media_type)
    signed = bytearray(signer.sign(plain, media_type))
    # A byte of the picture itself, which is in both: the last of its data.
    place = signed.rindex(plain[-40:-24]) if media_type != "image/webp" else signed.index(plain[30:46])
    signed[place] ^= 1
    found = read(bytes(signed), media_type, paths["trusted"])
    assert found["validation_state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in {each["code"] for each in found["validation_status"]}


def test_without_settings_nothing_is_signed() -> None:
    assert Signer.of(Settings(_env_file=None), FAMILY) is None


def test_a_certificate_without_its_key_fails_at_start(paths: dict[str, Path]) -> None:
    with pytest.raises(ValidationError, match="WAN_C2PA_CERT and WAN_C2PA_KEY"):
        Settings(_env_file=None, c2pa_cert=paths["c2pa_cert"])
