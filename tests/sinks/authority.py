"""A certificate authority for tests."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


class Authority:
    """Issues certificates for addresses; `file` is its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        own = self._certificate(self._name, self._key, 1, basic, critical=True)
        self.file.write_bytes(own.public_bytes(PEM))

    def trusted(self) -> ssl.SSLContext:
        """Give what a client needs to trust its certificates."""
        return ssl.create_default_context(cafile=self.file)

    def context(self, address: str, days: int = 1) -> ssl.SSLContext:
        """Give what a server needs to be at an address; the certificate is good until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        certificate = self._certificate(subject, key, days, names, critical=False)
        file = self._folder / f"{address}-{days}.pem"
        secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(secret + certificate.public_bytes(PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days: int,
        extension: x509.ExtensionType,
        *,
        critical: bool,
    ) -> x509.Certificate:
        end = datetime.now(UTC) + timedelta(days)
        return (
            x509.CertificateBuilder(
                self._name, subject, key.public_key(), x509.random_serial_number(), end - timedelta(30), end
            )
            .add_extension(extension, critical=critical)
            .sign(self._key, hashes.SHA256())
        )
