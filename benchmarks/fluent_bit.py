"""Fluent Bit with the same work: HTTP input, filesystem buffer, CloudWatch Logs output over TLS."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import events
from machine import START_SECONDS, CloudWatch, Subject, running, wait

COMMAND = os.environ.get("FLUENT_BIT", "")
"""The program to measure beside AuditFlow; without it only AuditFlow is measured."""
CONFIG = """\
[SERVICE]
    flush                     1
    log_level                 warning
    storage.path              {folder}/storage
    storage.sync              normal
    storage.max_chunks_up     128
[INPUT]
    name                      http
    listen                    127.0.0.1
    port                      {port}
    buffer_max_size           64M
    successful_response_code  200
    storage.type              filesystem
[OUTPUT]
    name                      cloudwatch_logs
    match                     *
    region                    us-east-1
    log_group_name            /bench
    log_stream_name           bench
    auto_create_group         true
    endpoint                  {host}
    port                      {cloud_port}
    tls.verify                on
    tls.ca_file               {certificate}
    workers                   1
"""


@contextmanager
def serve(cloud: CloudWatch) -> Iterator[Subject]:
    """Run Fluent Bit in front of a CloudWatch server."""
    with TemporaryDirectory(prefix="fluent-bit-bench-", dir=Path.cwd()) as name:
        folder, port, address = Path(name), _free_port(), urlsplit(cloud.url)
        config = CONFIG.format(
            folder=folder,
            port=port,
            host="localhost",
            cloud_port=address.port,
            certificate=cloud.certificate,
        )
        (folder / "fluent-bit.conf").write_text(config)
        with running([COMMAND, "-c", f"{folder}/fluent-bit.conf"], folder) as process:
            wait(lambda: _listens(port), START_SECONDS)
            pids = {"fluent-bit": process.pid}
            yield Subject("Fluent Bit", f"http://127.0.0.1:{port}", "/bench", events.JSON, pids)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
