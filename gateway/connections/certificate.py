"""The gateway's certificate: proven before it is used, exchanged without dropping a session.

A certificate is proven by using it: one handshake in memory, whose client trusts that certificate
alone. It finds what a real client would find: the key of another certificate, an expired one, or
one that is not made for servers. ``app`` loads it at start and reloads it on a signal; listeners
take the context for each new connection, so open sessions keep the one they began with.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from shared import secret_files
from shared.errors import ConfigError
from shared.metrics import Metric

log = structlog.get_logger()

# Most authorities renew 30 days before the end: one with less left was probably not renewed.
EXPIRY_WARNING_S: Final = 30 * 86_400.0
# Each side of a handshake sends twice (RFC 8446 section 2), once more with TLS 1.2.
_FLIGHTS: Final = 6


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that works, and the second (Unix time) in which it expires."""

    context: ssl.SSLContext
    expires_at: float


def load(cert: Path, key: Path) -> Certificate:
    """Read and prove a certificate (with its chain) and its key; raises ``ConfigError``."""
    try:
        cert.open("rb").close()
    except OSError as exc:
        raise ConfigError(f"GATEWAY_TLS_CERT: cannot read {cert}: {exc.strerror}") from exc
    secret_files.check("GATEWAY_TLS_KEY", key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def refuse() -> str:  # OpenSSL would ask on the terminal
        raise ConfigError(f"GATEWAY_TLS_KEY: {key} is encrypted; expected a key without password")

    try:
        context.load_cert_chain(cert, key, password=refuse)
    except ssl.SSLError as exc:
        raise _unusable(cert, key, exc) from exc
    try:
        not_after = _prove(context, cert)
    except ssl.SSLCertVerificationError as exc:
        raise ConfigError(f"GATEWAY_TLS_CERT: {cert}: {exc.verify_message}") from exc
    except ssl.SSLError as exc:
        raise ConfigError(f"GATEWAY_TLS_CERT: {cert}: {exc.reason or exc}") from exc
    return Certificate(context, float(ssl.cert_time_to_seconds(not_after)))


class CertificateReloader:
    """The certificate for new connections."""

    def __init__(self, cert: Path, key: Path, *, now: Callable[[], float] = time.time) -> None:
        """Load it; raises ``ConfigError``."""
        self._cert, self._key, self._now = cert, key, now
        self._current = load(cert, key)
        self._report("certificate loaded")

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        return self._current.context

    @property
    def expires_at(self) -> float:
        """When the certificate expires, in Unix time."""
        return self._current.expires_at

    def metrics(self) -> list[Metric]:
        """For ``/metrics``. After a forgotten reload, the certificate in use is not the file's."""
        return [
            Metric(
                "rts_gateway_certificate_expires_seconds", "gauge",
                "Unix time at which the certificate in use expires.", lambda: self.expires_at,
            ),
        ]  # fmt: skip

    def reload(self) -> None:
        """Use what the files hold now; when that does not work, keep the current certificate."""
        try:
            self._current = load(self._cert, self._key)
        except ConfigError as exc:
            log.error("certificate not reloaded", reason=str(exc))
            return
        self._report("certificate reloaded")

    def _report(self, event: str) -> None:
        left_s = self.expires_at - self._now()
        log.info(event, days=int(left_s // 86_400))
        if left_s < EXPIRY_WARNING_S:
            log.warning(
                "certificate expires soon", days=int(left_s // 86_400), path=str(self._cert)
            )


def _unusable(cert: Path, key: Path, exc: ssl.SSLError) -> ConfigError:
    """The error with file and cause, which OpenSSL does not name."""
    if exc.reason == "KEY_VALUES_MISMATCH":
        return ConfigError(f"GATEWAY_TLS_KEY: {key} is not the key of {cert}")
    return ConfigError(
        f"GATEWAY_TLS_CERT, GATEWAY_TLS_KEY: cannot use {cert} with {key}:"
        f" {exc.reason or 'no PEM'}; expected a certificate and its key in PEM"
    )


def _prove(server_context: ssl.SSLContext, cert: Path) -> str:
    """When the certificate expires, as a client sees it (notAfter); raises ``SSLError``."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    # The certificate itself is the anchor, whoever has signed it.
    trusting.verify_flags = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_FLIGHTS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = client.getpeercert()
    assert peer is not None
    return str(peer["notAfter"])
