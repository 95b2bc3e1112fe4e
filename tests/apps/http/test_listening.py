import pytest

from auditflow.apps.http.listening import listening


@pytest.fixture
def address(tmp_path):
    def ask(text="", sink=False, **environ):
        file = tmp_path / "auditflow.yaml"
        file.write_text(text)
        return listening({"AUDITFLOW_CONFIG": str(file), **environ}, sink=sink).url

    return ask


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("pipelines: []\n", "http://127.0.0.1:8080"),
        ("server: {port: 9090}\n", "http://127.0.0.1:9090"),
        ("server: {host: 0.0.0.0, port: 9090, tls: {certificate: a, key: b}}\n", "https://127.0.0.1:9090"),
        ("server: {host: 10.0.0.7}\n", "http://10.0.0.7:8080"),
        ("server: {host: '::1', port: '${PORT}'}\n", "http://[::1]:7070"),
        ("server: {port: 0}\n", "http://127.0.0.1:8080"),
        ("server: {port: many}\n", "http://127.0.0.1:8080"),
        ("server: [\n", "http://127.0.0.1:8080"),
        ("", "http://127.0.0.1:8080"),
    ],
)
def test_the_configuration_says_where(address, text, url):
    assert address(text, PORT="7070") == url


def test_the_environment_comes_first(address):
    text = "server: {port: 9090, sink-port: 9092}\n"
    assert address(text, AUDITFLOW_PORT="1234", AUDITFLOW_HOST="10.0.0.8") == "http://10.0.0.8:1234"
    assert address(text, sink=True) == "http://127.0.0.1:9092"
    assert address(text, sink=True, AUDITFLOW_SINK_PORT="4321") == "http://127.0.0.1:4321"


def test_without_a_file_it_is_the_usual_address(tmp_path):
    assert listening({"AUDITFLOW_CONFIG": str(tmp_path / "none.yaml")}).url == "http://127.0.0.1:8080"
