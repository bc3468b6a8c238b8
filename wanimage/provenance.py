"""C2PA manifests in the pictures that are made here: who made them, with which weights, that a model did.

Optional: `pip install c2pa-python`, then WAN_C2PA_CERT and WAN_C2PA_KEY. The manifest is put into the encoded
picture before it is stored, so the blob's name is the digest of the signed bytes. It carries no text of the
user. Nothing is asked over the network: no time stamp, no OCSP.
"""

import io
import json
from pathlib import Path
from typing import Any

from wanimage.config import Settings

MODEL_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's name for what a trained model made."""
SIGNATURE = "es256"
"""ECDSA on P-256 with SHA-256: the kind of key that WAN_C2PA_KEY must be."""


class Signer:
    """Signs encoded pictures of one family. Make it with `Signer.of(settings, digest)`."""

    def __init__(self, chain: Path, key: Path, family: str) -> None:
        """`chain`: the certificate and those above it, PEM; `key`: PKCS 8, PEM. Raises what C2PA says of a
        pair that does not fit."""
        import c2pa  # 23 MB of native code that only those who sign need

        self._c2pa = c2pa
        self._info = c2pa.C2paSignerInfo(
            alg=SIGNATURE.encode(), sign_cert=chain.read_bytes(), private_key=key.read_bytes(), ta_url=None
        )
        self._manifest = json.dumps(manifest(family))

    @classmethod
    def of(cls, settings: Settings, family: str) -> "Signer | None":
        """The signer that the settings ask for; None when they ask for none."""
        if settings.c2pa_cert is None or settings.c2pa_key is None:
            return None
        return cls(settings.c2pa_cert, settings.c2pa_key, family)

    def sign(self, data: bytes, media_type: str) -> bytes:
        """The same picture, PNG, JPEG or WebP, with its manifest. Takes about 50 ms."""
        c2pa = self._c2pa
        settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        signed = io.BytesIO()
        with (
            c2pa.Context(settings) as context,
            c2pa.Signer.from_info(self._info) as signer,
            c2pa.Builder(self._manifest, context=context) as builder,
        ):
            builder.sign(signer, media_type, io.BytesIO(data), signed)
        return signed.getvalue()


def manifest(family: str) -> dict[str, Any]:
    """What is claimed of a picture of the family with this digest."""
    created = {
        "action": "c2pa.created",
        "digitalSourceType": MODEL_MADE,
        "softwareAgent": {"name": "wanimage", "version": family[:12]},
    }
    return {
        "claim_generator_info": [{"name": "wanimage"}],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": "org.wanimage.family", "data": {"sha256": family}},
        ],
    }
