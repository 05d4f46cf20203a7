"""An operator for one run: signs who may connect, as `nsc` does, with keys that stay in memory.

A server that trusts an operator knows no passwords. A user shows a JWT that an account has signed, whose own
JWT the operator has signed; and signs a challenge with a key that never leaves the user (NATS documentation,
"JWTs" and "NKeys"; RFC 7519).
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]

_KIND = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
_UNLIMITED = ("subs", "data", "payload", "conn", "leaf", "imports", "exports")
_STORAGE = ("mem_storage", "disk_storage", "streams", "consumer")


class Operator:
    """One operator with one account, whose users are let in by a credentials file.

    operator = Operator()
    with NatsServer(config=Config(more=operator.settings())) as server:
        nc = await nats.connect(server.url, user_credentials=operator.credentials(here / "me.creds"))
    """

    def __init__(self, account: str = "SHIPPER") -> None:
        self._operator, self._account, self._system = map(_new_key, ("operator", "account", "account"))
        self._name = account

    def settings(self) -> dict[str, Any]:
        """What a server must know, in nats-server's words, for `Config(more=...)`; no secrets."""
        limits = dict.fromkeys((*_UNLIMITED, *_STORAGE), -1)
        account = {"type": "account", "version": 2, "limits": limits}
        system = account | {"limits": limits | dict.fromkeys(_STORAGE[:2], 0)}  # it has no JetStream
        operator = {"type": "operator", "version": 2}
        return {
            "operator": _sign(self._operator, _public(self._operator), "operator", operator),
            "system_account": _public(self._system),
            "resolver": "MEMORY",
            "resolver_preload": {
                _public(self._account): _sign(self._operator, _public(self._account), self._name, account),
                _public(self._system): _sign(self._operator, _public(self._system), "SYSTEM", system),
            },
        }

    def credentials(self, file: Path) -> Path:
        """Write the credentials of a new user of the account into `file`, which only you can read."""
        user = _new_key("user")
        claims = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
        file.touch(0o600)
        file.chmod(0o600)
        file.write_text(
            "-----BEGIN NATS USER JWT-----\n"
            f"{_sign(self._account, _public(user), file.stem, claims)}\n"
            "------END NATS USER JWT------\n\n"
            "-----BEGIN USER NKEY SEED-----\n"
            f"{bytes(user.seed).decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        return file


def _new_key(kind: str) -> nkeys.KeyPair:
    """A new Ed25519 key pair."""
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), _KIND[kind]))


def _public(key: nkeys.KeyPair) -> str:
    return bytes(key.public_key).decode()


def _sign(signer: nkeys.KeyPair, subject: str, name: str, claims: dict[str, Any]) -> str:
    """A JWT about `subject`, signed by `signer`."""
    body = {"iss": _public(signer), "sub": subject, "name": name, "iat": int(time.time()), "nats": claims}
    body["jti"] = secrets.token_hex(16)
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (head, body))
    return f"{signed}.{_encode(signer.sign(signed.encode()))}"


def _encode(data: bytes) -> str:
    """Base64 for web addresses, without padding (RFC 7515)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
