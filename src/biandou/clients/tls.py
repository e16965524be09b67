"""TLS towards others: the keys of every `tls` section of a client, and what Python's own clients make of them."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Final

from biandou.errors import ConfigError
from biandou.kinds import Keys

PROTOCOLS: Final = ("TLSv1.2", "TLSv1.3")
"""The protocols that we speak."""


def check_known(key: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise `ValueError` if one of a key's values is not known."""
    for name in names:
        if name not in known:
            raise ValueError(f"{key}: {name} is not supported; supported: {', '.join(known)}")


class ClientAuth(Keys, frozen=True, kw_only=True):
    """The certificate that we show; PEM files, the key as PKCS#8."""

    cert_path: str
    key_path: str
    intermediate_certs_path: str | None = None


class ClientTls(Keys, frozen=True, kw_only=True):
    """TLS towards endpoints (reference/linker.md §2.8); `{captures}` of the prefix are put into `commonName`."""

    enabled: bool = True
    common_name: str | None = None
    disable_validation: bool = False
    trust_certs: tuple[str, ...] = ()
    trust_certs_bundle: str | None = None
    client_auth: ClientAuth | None = None
    protocols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` if keys contradict each other."""
        if self.disable_validation and self.client_auth is not None:
            raise ValueError("disableValidation: true is incompatible with clientAuth")
        if self.trust_certs and self.trust_certs_bundle is not None:
            raise ValueError("Both trustCerts and trustCertsBundle have been set. Please use only trustCertsBundle.")
        if self.enabled and not self.disable_validation and self.common_name is None:
            raise ValueError("tls is configured with validation but `commonName` is not set")
        check_known("protocols", self.protocols, PROTOCOLS)


def client_context(tls: ClientTls | None) -> ssl.SSLContext | None:
    """Give what a connection needs, `None` for one without TLS; raises `ConfigError` for a file that can't be used."""
    if tls is None or not tls.enabled:
        return None
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.protocols and "TLSv1.2" not in tls.protocols:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if tls.protocols and "TLSv1.3" not in tls.protocols:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    bundles = tls.trust_certs if tls.trust_certs_bundle is None else (tls.trust_certs_bundle,)
    try:
        if tls.disable_validation:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif bundles:
            # Those that are named alone, not the system's as well.
            context = _only(context, bundles)
        if tls.client_auth is not None:
            auth = tls.client_auth
            show_certificate(context, auth.cert_path, auth.key_path, auth.intermediate_certs_path)
    except OSError as error:
        raise ConfigError(f"tls: {error}") from error
    return context


def _only(default: ssl.SSLContext, bundles: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = default.minimum_version
    context.maximum_version = default.maximum_version
    for bundle in bundles:
        context.load_verify_locations(bundle)
    return context


def show_certificate(context: ssl.SSLContext, cert: str, key: str, intermediates: str | None) -> None:
    """Have a context show a certificate; raises `OSError`, `ssl.SSLError` among them, for a file that can't be used."""
    if intermediates is None:
        context.load_cert_chain(cert, key)
        return
    with open(cert, "rb") as own, open(intermediates, "rb") as others:
        chain = own.read().rstrip(b"\n") + b"\n" + others.read()
    # OpenSSL reads a chain from one file alone.
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "chain.pem")
        with open(file, "wb") as whole:
            whole.write(chain)
        context.load_cert_chain(file, key)
