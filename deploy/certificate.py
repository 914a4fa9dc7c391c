"""A self-signed certificate for wss on one machine, made by the first ``make up``.

It cannot sign other certificates (CA:FALSE), so a client that trusts it trusts this server only.
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.process import write_private

VALID = timedelta(days=2 * 365)
RENEW_BEFORE = timedelta(days=30)
_ADDRESSES = ("127.0.0.1", "::1")


def ensure(cert: Path, key: Path) -> bool:
    """Make both files, unless they exist and the certificate does not expire soon.

    Returns whether they were made.
    """
    if cert.exists() and key.exists() and _expires_at(cert) > datetime.now(UTC) + RENEW_BEFORE:
        return False
    make(cert, key)
    return True


def make(
    cert: Path, key: Path, *, begins: datetime | None = None, valid: timedelta = VALID
) -> None:
    """A certificate for this machine's own names; the key's file is private (0600)."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    begins = begins or datetime.now(UTC) - timedelta(minutes=5)  # for clients whose clock is slow
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in _ADDRESSES]
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + valid)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    write_private(
        key,
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _expires_at(cert: Path) -> datetime:
    try:
        return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    except ValueError:  # not a certificate: make a new one
        return datetime.min.replace(tzinfo=UTC)
