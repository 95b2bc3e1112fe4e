"""A certificate for 127.0.0.1 and localhost, signed by itself: clients trust it when they are given its file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

CERTIFICATE: Final = "cert.pem"
KEY: Final = "key.pem"
_LIFETIME: Final = timedelta(days=30)


def in_folder(folder: Path) -> tuple[Path, Path]:
    """Give the files of certificate and key in a folder; both are made when they are not there.

    Making them needs the package `cryptography`: ImportError without it.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not certificate.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(certificate, key)
    return certificate, key


def _make(certificate: Path, key: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(
            name, name, secret.public_key(), x509.random_serial_number(), now, now + _LIFETIME
        )
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key.touch(mode=0o600)
    key.write_bytes(
        secret.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate.write_bytes(signed.public_bytes(pem))
