"""TLS towards namerd's mesh interface: the keys of a client's `tls` section as gRPC's library has them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from biandou.clients.tls import ClientTls, client_context
from biandou.errors import ConfigError

if TYPE_CHECKING:
    import grpc


def check_mesh_tls(tls: ClientTls | None) -> None:
    """Raise `ValueError` for what gRPC's library cannot do."""
    if tls is None or not tls.enabled:
        return
    if tls.disable_validation:
        raise ValueError("disableValidation is not possible with io.l5d.mesh: give trustCertsBundle and commonName")
    if tls.protocols:
        raise ValueError("protocols cannot be chosen for io.l5d.mesh")


def channel_credentials(tls: ClientTls | None) -> grpc.ChannelCredentials | None:
    """Give what a channel needs, `None` for one without TLS; raises `ConfigError` for a file that can't be used."""
    # Only to find what is wrong with a file: gRPC would not say.
    if tls is None or client_context(tls) is None:
        return None
    import grpc  # noqa: PLC0415 - a linker without a mesh interpreter does without

    bundles = tls.trust_certs if tls.trust_certs_bundle is None else (tls.trust_certs_bundle,)
    if not bundles:
        # Those of the system, as everywhere else; gRPC would take those that it brings along.
        system = ssl.get_default_verify_paths().cafile
        bundles = () if system is None else (system,)
    try:
        authorities = b"\n".join([_bytes(bundle) for bundle in bundles]) or None
        if tls.client_auth is None:
            return grpc.ssl_channel_credentials(authorities)
        auth = tls.client_auth
        chain = [auth.cert_path] + [auth.intermediate_certs_path] * (auth.intermediate_certs_path is not None)
        shown = b"\n".join([_bytes(file) for file in chain if file is not None])
        return grpc.ssl_channel_credentials(authorities, _bytes(auth.key_path), shown)
    except OSError as error:
        raise ConfigError(f"tls: {error}") from error


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
