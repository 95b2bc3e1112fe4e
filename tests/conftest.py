"""What tests of several parts need."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# A machine may be slow: what no test says of a time limit is this. A call without a limit of its own reads these.
httpx2._config.DEFAULT_TIMEOUT_CONFIG.__dict__.update(
    dict.fromkeys(("connect", "read", "write", "pool"), 60.0)
)
# A shell starts what runs in the background with SIGINT ignored, which children inherit: none could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


class Receiver(ThreadingHTTPServer):
    """Keeps what it gets; `answer` decides by the body what to say: (status, headers)."""

    daemon_threads = True

    def __init__(self):
        self.requests = []
        self.answer = lambda body: (200, {})
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook?token=url-secret"

    @property
    def bodies(self):
        return [body for _, _, body in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with server.lock:
            server.requests.append((self.command, dict(self.headers), body))
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            status, headers = server.answer(body)
        finally:
            with server.lock:
                server.at_once -= 1
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET = handle_one  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
