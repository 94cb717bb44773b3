"""Keys of people and programs that ask over the network: shown once, kept as salted hashes.

A key reads `trmn_ID_SECRET`. The secret has 256 random bits, so that guessing it is hopeless
however fast the hash is; a slow one would only slow the server.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from tramontane.errors import ConfigError, NotFound
from tramontane.library.database import Database

SCOPES = ("ask", "manage")
PREFIX = "trmn_"
FORM = re.compile(r"trmn_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
MAX_NAME_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Key:
    """What may be known of a key afterwards; a `manage` key may do what an `ask` key may, too."""

    id: str
    name: str
    scope: str
    created: str


class Keys:
    def __init__(self, database: Database):
        self._database = database

    def add(self, name: str, scope: str) -> tuple[Key, str]:
        """Returns the new key's record and the key itself, which can't be had again.

        Raises ConfigError for a name that is taken or a scope that there isn't.
        """
        if scope not in SCOPES:
            raise ConfigError(f"there is no scope {scope!r}; there are {', '.join(SCOPES)}")
        if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
            raise ConfigError(
                f"{name!r} cannot name a key; take 1 to {MAX_NAME_CHARACTERS} characters"
            )
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        salt = secrets.token_bytes(16)
        key = Key(key_id, name, scope, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._database.writing() as db:
            if db.execute("SELECT 1 FROM keys WHERE name = ?", (name,)).fetchone():
                raise ConfigError(
                    f"there is a key {name!r} already; revoke it or choose another name"
                )
            db.execute(
                "INSERT INTO keys (id, name, scope, salt, hash, created) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, name, scope, salt, hash_of(secret, salt), key.created),
            )
        return key, f"{PREFIX}{key_id}_{secret}"

    def ls(self) -> list[Key]:
        with self._database.reading() as db:
            rows = db.execute("SELECT id, name, scope, created FROM keys ORDER BY name").fetchall()
        return [Key(*row) for row in rows]

    def revoke(self, name: str) -> Key:
        """Makes a key worthless from now on; NotFound with the names there are."""
        found = next((key for key in self.ls() if name in (key.name, key.id)), None)
        if found is None:
            names = ", ".join(key.name for key in self.ls()) or "none"
            raise NotFound(f"no key {name!r}; there are: {names}")
        with self._database.writing() as db:
            db.execute("DELETE FROM keys WHERE id = ?", (found.id,))
        return found

    def find(self, text: str) -> Key | None:
        """Returns the key that a text is, or None; the time taken tells nothing of the secret."""
        match = FORM.fullmatch(text)
        if match is None:
            return None
        with self._database.reading() as db:
            row = db.execute(
                "SELECT id, name, scope, created, salt, hash FROM keys WHERE id = ?", (match[1],)
            ).fetchone()
        if row is None:
            return None
        *told, salt, hashed = row
        return Key(*told) if hmac.compare_digest(hash_of(match[2], salt), hashed) else None


def hash_of(secret: str, salt: bytes) -> bytes:
    return hashlib.blake2b(secret.encode(), salt=salt, digest_size=32).digest()
