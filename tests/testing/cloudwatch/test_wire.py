import http.client
import socket

import pytest

from auditflow.testing.cloudwatch import StrictCloudWatch
from auditflow.testing.cloudwatch.certificate import in_folder


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1: paths of certificate and key."""
    return in_folder(tmp_path)


def test_tls_is_served_with_the_given_certificate(certificate, session):
    cert, key = certificate
    with StrictCloudWatch(tls_cert=cert, tls_key=key) as cloud:
        assert cloud.url.startswith("https://")
        client = session.client("logs", endpoint_url=cloud.url, verify=str(cert))
        client.create_log_group(logGroupName="/a")
        cloud.fault("reset", times=1)
        assert client.describe_log_groups()["logGroups"][0]["logGroupName"] == "/a"
        client.close()


def test_a_connection_is_kept_alive(cloud):
    connection = http.client.HTTPConnection("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/_counts")
        connection.getresponse().read()
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1


def test_a_body_of_unknown_length_is_refused(cloud):
    with socket.create_connection(("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in client.recv(1000).partition(b"\r\n")[0]


def test_a_client_that_goes_away_leaves_the_server_well(cloud, logs, capfd):
    with socket.create_connection(("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))) as rude:
        rude.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    logs.describe_log_groups()
    assert capfd.readouterr().err == ""


def test_a_reset_is_a_reset_and_not_a_mere_close(cloud):
    cloud.fault("reset")
    head = (
        "POST / HTTP/1.1\r\nX-Amz-Target: Logs_20140328.DescribeLogGroups\r\nX-Amz-Date: x\r\n"
        "Authorization: AWS4-HMAC-SHA256 Credential=A/20261118/us-east-1/logs/aws4_request, "
        f"SignedHeaders=host, Signature={'0' * 64}\r\nContent-Length: 2\r\n\r\n{{}}"
    )
    with socket.create_connection(("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head.encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
