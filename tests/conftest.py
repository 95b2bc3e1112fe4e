"""What tests of several parts need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Issue = Callable[..., tuple[Path, Path]]


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """Give a function that makes a certificate for 127.0.0.1, which signs itself, and its key: <name>.pem and .key."""

    def issue(name: str = "server", valid_from: int = -1, valid_to: int = 1) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        here, now = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), datetime.now(UTC)
        times = now + timedelta(valid_from), now + timedelta(valid_to)
        number = x509.random_serial_number()
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), number, *times)
        certificate = builder.add_extension(here, critical=False).sign(key, hashes.SHA256())
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        paths = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(pem))
        paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        return paths

    return issue
