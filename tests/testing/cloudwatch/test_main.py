import signal
import ssl
import subprocess
import sys

import httpx2
import pytest


@pytest.fixture
def start():
    """Start the server as a process of its own; gives process and URL."""
    started = []

    def call(*options):
        command = [sys.executable, "-m", "auditflow.testing.cloudwatch", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield call
    for process in started:
        process.kill()
        process.communicate()


def test_the_server_runs_alone_says_its_url_and_ends_on_request(start):
    process, url = start("--counting")
    assert httpx2.get(f"{url}/_counts").json()["requests"] == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_it_serves_https_with_a_certificate_that_it_makes(start, tmp_path):
    _, url = start("--tls", str(tmp_path))
    trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    assert httpx2.get(f"{url}/_counts", verify=trusted).json()["requests"] == 0


def test_a_taken_port_is_explained(start, cloud):
    process, line = start("--port", cloud.url.rsplit(":", 1)[1])
    assert line == ""
    assert process.wait(10) == 1
    assert "choose another port with --port" in process.stderr.read()
