"""API keys: ``af_<id>_<secret>``. The file knows the id, the owner's rights, and a hash of the secret.

The secret is 256 random bits, so plain SHA-256 is enough: slow, salted hashes are for passwords, which can be
guessed; 2^256 secrets cannot be tried, however fast the hash. It costs a microsecond where argon2 costs 50 ms.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec

from auditflow.errors import KeysUnusable, NoSuchKey
from auditflow.ingest.auth.principal import Principal, scopes_of
from auditflow.ingest.auth.watched import Watched

PREFIX: Final = "af_"
SECRET_BYTES: Final = 32

_shape = re.compile(r"af_([a-z2-7]{16})_([A-Za-z0-9_-]{43})").fullmatch
_NO_HASH: Final = bytes(32)
_log = logging.getLogger(__name__)


_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Key(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A key as the file keeps it."""

    id: str
    name: str
    """Whose it is."""
    tenant: str | None
    """Its tenant; None acts for every tenant."""
    scopes: tuple[str, ...]
    created: _Time
    expires: _Time | None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """Hash of the secret, in hexadecimal."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Key]


class KeyFile:
    """The file, as `auditflow keys` reads and writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """Give the keys; none when there is no file. Raises KeysUnusable."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_Content).keys
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def create(
        self, name: str, tenant: str | None, scopes: Sequence[str], lifetime: float | None = None
    ) -> tuple[Key, str]:
        """Add a key that is good for `lifetime` seconds, or forever; give it, and its text, which nobody keeps.

        Raises KeysUnusable.
        """
        number = base64.b32encode(secrets.token_bytes(10)).decode().lower()
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = datetime.now(UTC).replace(microsecond=0)
        expires = None if lifetime is None else now + timedelta(seconds=lifetime)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        key = Key(number, name, tenant, tuple(scopes), now, expires, digest)
        with self._changing() as keys:
            keys.append(key)
        return key, f"{PREFIX}{number}_{secret}"

    def revoke(self, number: str) -> Key:
        """Take a key out; give it. Raises NoSuchKey, KeysUnusable."""
        with self._changing() as keys:
            for key in keys:
                if key.id == number:
                    keys.remove(key)
                    return key
        raise NoSuchKey(id=number, path=self.path)

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """Give the keys to change, then write them; one process at a time."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self.path.parent):
                keys = self.read()
                before = list(keys)
                yield keys
                if keys != before:
                    self._write(msgspec.json.format(msgspec.json.encode(_Content(keys)), indent=2))
        except OSError as error:
            raise self._unusable(error) from None

    def _write(self, content: bytes) -> None:
        """Replace the file, for its owner alone; readers see the old one or the new one."""
        draft = self.path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content + b"\n")
            out.flush()
            os.fsync(out.fileno())
            if os.geteuid() == 0:  # root makes a key for a server that runs as the folder's owner
                owner = self.path.parent.stat()
                os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
        draft.rename(self.path)

    def _unusable(self, error: Exception) -> KeysUnusable:
        return KeysUnusable(path=self.path, reason=getattr(error, "strerror", None) or error)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Keys:
    """The keys as a running server knows them: at most a second behind the file, and never less than its last good form."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = KeyFile(path)
        self._watched = Watched(path)
        self._clock = clock
        self._known: dict[str, tuple[bytes, float, Principal]] = {}
        """By id: hash, Unix time at which it ends, and whose it is."""

    def look_up(self, text: str) -> Principal | None:
        """Tell whose key this is; None for one that is unknown, wrong or has expired, in the same time each."""
        if self._watched.changed():
            self._read()
        parts = _shape(text)
        number, secret = parts.groups() if parts else ("", "")
        expected, ends, principal = self._known.get(number, (_NO_HASH, 0.0, None))
        right = hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), expected)
        return principal if right and self._clock() < ends else None

    def _read(self) -> None:
        try:
            known = {key.id: _entry(key) for key in self._file.read()}
        except KeysUnusable as error:
            _log.error("%s; the keys stay as they were: %d", error, len(self._known))
        else:
            self._known = known


def _entry(key: Key) -> tuple[bytes, float, Principal]:
    ends = float("inf") if key.expires is None else key.expires.timestamp()
    return bytes.fromhex(key.sha256), ends, Principal(key.name, key.tenant, scopes_of(key.scopes))
