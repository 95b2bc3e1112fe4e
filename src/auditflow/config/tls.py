"""Certificates of the server: checked when the configuration is loaded, before anybody connects."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationInfo, model_validator

from auditflow.settings import LocatedPath, Settings, misfit


class TlsConfig(Settings):
    """Certificate and key of the server, in PEM. Changed files are used within seconds, without a restart."""

    certificate: LocatedPath
    """The certificate, followed by those between it and its root."""
    key: LocatedPath
    """Its private key, without a passphrase."""
    client_ca: LocatedPath | None = None
    """Certificates of those who sign client certificates: then nobody without one can connect (mTLS)."""

    @model_validator(mode="after")
    def _sound(self, info: ValidationInfo) -> Self:
        if info.context is not None:  # it comes from a file: what it names is to be there
            try:
                _rehearse(server_context(self), self.certificate)
            except OSError as error:  # SSLError is one
                raise misfit(*self._reason(error)) from None
        return self

    def _reason(self, error: OSError) -> tuple[str, str]:
        for name, path in (
            ("certificate", self.certificate),
            ("key", self.key),
            ("client-ca", self.client_ca),
        ):
            if path and not _readable(path):  # not to be quoted: it may be a key in place of its path
                return f"{name}: this file cannot be read", "correct the path, or who may read the file"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate is not valid: {error.verify_message}", "renew it"
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate", "give the two that were made together"
        hint = "each has to be PEM, the key without a passphrase"
        return f"they cannot be used: {getattr(error, 'reason', None) or error}", hint


def server_context(tls: TlsConfig) -> ssl.SSLContext:
    """Give what a server needs to speak TLS 1.2 or later. Raises OSError, SSLError included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")  # never asks at the terminal
    if tls.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tls.client_ca)
    return context


class RenewableContext(ssl.SSLContext):
    """What a server needs, as the files were when they were last read: who is trusted cannot be taken out of a context."""

    _current: ssl.SSLContext

    def __new__(cls, tls: TlsConfig) -> Self:
        """Make one. Raises OSError, SSLError included."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context.renew(tls)
        return context

    def renew(self, tls: TlsConfig) -> None:
        """Use the files as they are now, for connections from now on. Raises OSError, and then all stays as it was."""
        self._current = server_context(tls)

    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:
        """Begin a connection: what event loops call."""
        return self._current.wrap_bio(*arguments, **more)


def _rehearse(server: ssl.SSLContext, certificate: Path) -> None:
    """Shake hands with a client that trusts this certificate. Raises SSLCertVerificationError, as one would see it."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server)
    for side in (client_side, server_side, client_side):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
