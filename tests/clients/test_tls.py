"""What a client's `tls` section comes to in Python's own clients."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from biandou.clients.tls import ClientAuth, ClientTls, client_context
from biandou.errors import ConfigError


def test_without_the_section_or_when_it_is_off_nothing_is_encrypted() -> None:
    assert client_context(None) is None
    assert client_context(ClientTls(enabled=False)) is None


def test_a_certificate_is_checked_for_its_name_unless_that_is_turned_off() -> None:
    checked = client_context(ClientTls(common_name="namerd"))
    assert checked is not None
    assert (checked.check_hostname, checked.verify_mode) == (True, ssl.CERT_REQUIRED)
    unchecked = client_context(ClientTls(disable_validation=True))
    assert unchecked is not None
    assert (unchecked.check_hostname, unchecked.verify_mode) == (False, ssl.CERT_NONE)


def test_only_the_protocols_that_are_named_are_spoken() -> None:
    new = client_context(ClientTls(common_name="namerd", protocols=("TLSv1.3",)))
    old = client_context(ClientTls(common_name="namerd", protocols=("TLSv1.2",)))
    assert new is not None
    assert old is not None
    assert new.minimum_version == ssl.TLSVersion.TLSv1_3
    assert (old.minimum_version, old.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)


def test_who_names_whom_to_trust_trusts_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigError, match="tls: "):
        client_context(ClientTls(common_name="namerd", trust_certs_bundle=str(tmp_path / "empty.pem")))


def test_a_file_that_is_not_there_is_a_mistake_that_says_so(tmp_path: Path) -> None:
    auth = ClientAuth(cert_path=str(tmp_path / "none.pem"), key_path=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="No such file"):
        client_context(ClientTls(common_name="namerd", client_auth=auth))
