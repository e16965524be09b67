"""How Marathon learns who we are: a password, or a service account of DC/OS (reference/naming.md §1.7).

What DC/OS wants is in its page "Provisioning a service account" and in `iam-auth`: a token that says who we are,
signed with the account's key, is handed in for another that Marathon takes.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

SCHEME: Final = "RS256"


@dataclass(frozen=True, slots=True)
class Basic:
    """The same header for every request."""

    header: str


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What to hand in at `path`; `key` is an RSA key of the library `cryptography`."""

    uid: str
    path: str
    key: RSAPrivateKey

    def question(self) -> bytes:
        """Give the JSON that asks for a token."""
        return json.dumps({"uid": self.uid, "token": signed(self.uid, self.key)}).encode()


Login = Basic | ServiceAccount


class _Credential(msgspec.Struct):
    login_endpoint: str
    private_key: str
    scheme: str
    uid: str


def basic(text: str) -> Basic:
    """Read `MARATHON_HTTP_AUTH_CREDENTIAL`, which is base64 of `user:password`; raises `ValueError`."""
    try:
        user = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        user = b""
    if b":" not in user:
        raise ValueError("it is the base64 of user:password")
    return Basic(f"Basic {text.strip()}")


def service_account(text: str) -> ServiceAccount:
    """Read `DCOS_SERVICE_ACCOUNT_CREDENTIAL`; raises `ValueError`, whose text has no secret."""
    # A large library, and few have such an account.
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        found = msgspec.json.decode(text, type=_Credential)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ValueError("it is JSON with login_endpoint, private_key, scheme and uid") from None
    if found.scheme != SCHEME:
        raise ValueError(f"the scheme is {SCHEME}")
    try:
        key = load_pem_private_key(found.private_key.encode(), password=None)
    except Exception:
        # What the library says, and raises, depends on the key.
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key is an RSA key in PEM")
    path = urlsplit(found.login_endpoint).path
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError("login_endpoint is a URL with a path")
    return ServiceAccount(found.uid, path, key)


def signed(uid: str, key: RSAPrivateKey) -> str:
    """Give a JSON web token (RFC 7519) that says `uid`, signed with RS256."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    parts = ({"alg": SCHEME, "typ": "JWT"}, {"uid": uid})
    said = b".".join(_web(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return (said + b"." + _web(key.sign(said, PKCS1v15(), SHA256()))).decode()


def _web(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
