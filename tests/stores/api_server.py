"""A real Kubernetes API server on loopback, for custom resources, with its own etcd (tests/registries/apiserver)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.stores import etcd_members
from tests.stores.etcd_members import Member, free_ports

START_SECONDS = 60.0
ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests" / "registries" / "apiserver"

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    # It looks for services of a core server; there is none.
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "users": [{"name": "none", "user": {}}],
    "current-context": "none",
}


def program() -> Path:
    """Give where `tests/registries/apiserver/build` puts the program, built or not."""
    text = b"".join((SOURCES / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "biandou" / f"apiserver-{hashlib.sha256(text).hexdigest()[:16]}"


def missing() -> str | None:
    """Say what is missing to run it, `None` if nothing is."""
    if shutil.which("etcd") is None:
        return "etcd is not installed (etcd-server)"
    return None if program().exists() else "the API server is not built (tests/registries/apiserver/build, needs Go)"


class ApiServer:
    """One API server; `account` is the directory of a service account for it."""

    def __init__(self, directory: Path) -> None:
        self.account = directory / "account"
        self._directory = directory
        self._member: Member | None = None
        self._process: subprocess.Popen[bytes] | None = None
        (self.port,) = free_ports(1)

    def start(self) -> None:
        """Start it, and define `dtabs.l5d.io` as the example does; the first time or again."""
        if self._member is None:
            (self._member,) = etcd_members.start(1, self._directory)
        self.account.mkdir(exist_ok=True)
        config = self._directory / "kubeconfig"
        config.write_text(json.dumps(KUBECONFIG))
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self._member.client}",
            "secure-port": self.port,
            "bind-address": "127.0.0.1",
            "cert-dir": self.account,
            "kubeconfig": config,
        }
        self._process = subprocess.Popen(
            [program(), *(f"--{flag}={value}" for flag, value in flags.items())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait("/healthz")
        (self.account / "ca.crt").write_bytes((self.account / "apiserver.crt").read_bytes())
        (self.account / "token").write_text("nobody-asks-for-it")
        crd = (ROOT / "examples" / "namerd-k8s" / "dtabs-crd.json").read_bytes()
        try:
            self._ask("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
        self._wait("/apis/l5d.io/v1alpha1/namespaces/default/dtabs")

    def kill(self) -> None:
        """End the API server at once, and not its etcd."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End both."""
        self.kill()
        if self._member is not None:
            self._member.kill()

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", body)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - it is https
            return answer.read()

    def _wait(self, path: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ask(path)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return
