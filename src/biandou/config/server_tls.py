"""A server's `tls` section as Python's `ssl` has it: for the admin server and namerd."""

from __future__ import annotations

import ssl
from typing import Final

from biandou.clients.tls import show_certificate
from biandou.config.followed_files import FollowedFiles
from biandou.errors import ConfigError
from biandou.policies import ServerTls

# OpenSSL's names of the suites of TLS 1.2 that we speak; those of TLS 1.3 cannot be chosen among.
_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}


def followed_context(tls: ServerTls, what: str) -> tuple[ssl.SSLContext, FollowedFiles[ssl.SSLContext]]:
    """Give what a listening socket needs: each handshake goes by what the files, which come with it, hold then.

    `what` is what listens, for the log. Raises `ConfigError`, which names the file that cannot be used.
    """
    files = FollowedFiles(f"tls of {what}", tls_files(tls), lambda: server_context(tls))
    first = files.get()

    def greeted(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = files.get()

    # OpenSSL calls it for every caller, whether he asks for a name or not.
    first.sni_callback = greeted
    return first, files


def tls_files(tls: ServerTls) -> list[str]:
    """Give the files that a server's `tls` section names."""
    named = (tls.cert_path, tls.key_path, tls.intermediate_certs_path, tls.ca_cert_path)
    return [file for file in named if file is not None]


def server_context(tls: ServerTls, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """Give what holds for the files as they are now; raises `ConfigError`, which names the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.protocols and "TLSv1.2" not in tls.protocols:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if tls.protocols and "TLSv1.3" not in tls.protocols:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    suites = [_SUITES[name] for name in tls.ciphers or _SUITES if name in _SUITES]
    if suites:
        context.set_ciphers(":".join(suites))
    context.set_alpn_protocols(list(protocols))
    try:
        show_certificate(context, tls.cert_path, tls.key_path, tls.intermediate_certs_path)
    except OSError as error:
        raise ConfigError(f"tls: certPath {tls.cert_path}, keyPath {tls.key_path} cannot be used: {error}") from error
    if tls.ca_cert_path is not None:
        try:
            context.load_verify_locations(tls.ca_cert_path)
        except OSError as error:
            raise ConfigError(f"tls: caCertPath {tls.ca_cert_path} cannot be used: {error}") from error
    if tls.require_client_auth:
        if tls.ca_cert_path is None:
            raise ConfigError("tls: requireClientAuth needs caCertPath, which says whose clients are let in")
        context.verify_mode = ssl.CERT_REQUIRED
    return context
