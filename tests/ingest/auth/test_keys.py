"""API keys: made, shown once, kept hashed, revoked while the server runs."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.errors import KeysUnusable, NoSuchKey
from auditflow.ingest.auth.keys import KeyFile, Keys

PUBLISH = ["audit-event:write"]


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def test_a_key_lets_its_owner_in_with_tenant_and_scopes(file: KeyFile):
    key, text = file.create("web", "acme", PUBLISH)
    principal = Keys(file.path).look_up(text)
    assert (principal.name, principal.tenant, principal.scopes) == ("web", "acme", frozenset(PUBLISH))
    assert re.fullmatch(rf"af_{key.id}_[A-Za-z0-9_-]{{43}}", text), "43 characters of base64 are 256 bits"


def test_nothing_in_the_file_lets_anyone_in(file: KeyFile):
    _, text = file.create("web", None, PUBLISH)
    content = file.path.read_text()
    assert text.rpartition("_")[2] not in content
    assert text[20:] not in content
    entry = json.loads(content)["keys"][0]
    keys = Keys(file.path)
    assert keys.look_up(f"af_{entry['id']}_{entry['sha256'][:43]}") is None
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["keys.json"], "a draft was left behind"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, str]:
    """Give keys of which there is one, and its text."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    _, text = KeyFile(path).create("web", None, PUBLISH)
    return Keys(path), text


@given(other=st.text(max_size=200))
def test_no_other_text_lets_anyone_in(one: tuple[Keys, str], other: str):
    keys, text = one
    assert keys.look_up(text) is not None
    assert keys.look_up(other) is None


@given(position=st.integers(0, 62), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyzABC234567_-"))
def test_no_change_of_a_key_lets_anyone_in(one: tuple[Keys, str], position: int, letter: str):
    keys, text = one
    changed = text[:position] + letter + text[position + 1 :]
    assert (keys.look_up(changed) is not None) == (changed == text)


def test_a_key_ends_when_it_expires(file: KeyFile):
    _, text = file.create("web", None, PUBLISH, lifetime=3600)
    now = time.time()
    keys = Keys(file.path, clock=lambda: now)
    assert keys.look_up(text) is not None
    now += 3601
    assert keys.look_up(text) is None


@pytest.mark.usefixtures("no_pause")
def test_a_running_server_sees_new_and_revoked_keys(file: KeyFile):
    keys = Keys(file.path)
    first, text = file.create("web", None, PUBLISH)
    assert keys.look_up(text) is not None
    _, other = file.create("api", None, PUBLISH)
    assert file.revoke(first.id).name == "web"
    assert keys.look_up(text) is None
    assert keys.look_up(other) is not None
    with pytest.raises(NoSuchKey, match=first.id):
        file.revoke(first.id)


def test_the_file_is_looked_at_once_a_second_at_most(file: KeyFile):
    keys = Keys(file.path)
    assert keys.look_up("af_") is None
    _, text = file.create("web", None, PUBLISH)
    assert keys.look_up(text) is None, "it was looked at again at once"
    deadline = time.monotonic() + 3
    while keys.look_up(text) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"keys": [{"id": 1}]}',
        b'{"keys": [], "more": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"keys": [{"id": "a", "name": "n", "tenant": null, "scopes": [], "expires": null, "sha256": "zz"}]}',
    ],
)
def test_a_damaged_file_keeps_the_last_good_keys_and_is_reported(file: KeyFile, content: bytes, caplog):
    keys = Keys(file.path)
    _, text = file.create("web", None, PUBLISH)
    assert keys.look_up(text) is not None
    file.path.write_bytes(content)
    assert keys.look_up(text) is not None
    assert keys.look_up(text) is not None
    assert caplog.text.count("cannot be used") == 1, "it is said once, not with every call"
    with pytest.raises(KeysUnusable, match=str(file.path)):
        file.create("other", None, PUBLISH)
    assert file.path.read_bytes() == content, "what could be fixed was overwritten"


@pytest.mark.usefixtures("no_pause")
def test_without_the_file_nobody_is_let_in(file: KeyFile):
    keys = Keys(file.path)
    _, text = file.create("web", None, PUBLISH)
    assert keys.look_up(text) is not None
    file.path.unlink()
    assert keys.look_up(text) is None


def test_keys_made_at_the_same_time_are_all_kept(file: KeyFile):
    makers = [threading.Thread(target=file.create, args=(f"n{n}", None, PUBLISH)) for n in range(20)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert {key.name for key in file.read()} == {f"n{n}" for n in range(20)}


def test_unknown_wrong_and_expired_keys_are_compared_alike(file: KeyFile, monkeypatch):
    """Each look-up hashes and compares once, whatever the key: time tells nothing."""
    from auditflow.ingest.auth import keys as module

    _, text = file.create("web", None, PUBLISH)
    compared = []
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))))
    keys = Keys(file.path)
    for each in (text, text[:-1] + "x", "af_aaaaaaaaaaaaaaaa_" + text[-43:], "nonsense", ""):
        keys.look_up(each)
    assert compared == [(32, 32)] * 5
