"""A certificate is proven before it is used."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from deploy.certificate import ensure, make
from gateway.connections.certificate import EXPIRY_WARNING_S, CertificateReloader, load
from shared.errors import ConfigError, ExitCode
from tests.support.certificates import Pem


def gone(pem: Pem) -> None:
    """No such file."""
    pem.cert.unlink()


def swapped(pem: Pem) -> None:
    """The key of another certificate."""
    Pem.make(pem.key.parent, "other").key.replace(pem.key)


def garbled(pem: Pem) -> None:
    """Not a PEM file."""
    pem.cert.write_text("soup")


def expired(pem: Pem) -> None:
    """Its time has passed."""
    begun = datetime.now(UTC) - timedelta(days=2)
    make(pem.cert, pem.key, begins=begun, valid=timedelta(days=1))


def early(pem: Pem) -> None:
    """Its time is to come."""
    make(pem.cert, pem.key, begins=datetime.now(UTC) + timedelta(days=1))


def locked(pem: Pem) -> None:
    """The key has a password."""
    key = serialization.load_pem_private_key(pem.key.read_bytes(), None)
    pem.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def a_folder(pem: Pem) -> None:
    """Not even a file."""
    pem.key.unlink()
    pem.key.mkdir()


SPOILT: list[tuple[Callable[[Pem], None], str]] = [
    (gone, "GATEWAY_TLS_CERT: cannot read {cert}: No such file or directory"),
    (a_folder, "GATEWAY_TLS_KEY: cannot read {key}: Is a directory"),
    (swapped, "GATEWAY_TLS_KEY: {key} is not the key of {cert}"),
    (garbled, "cannot use {cert} with {key}: no PEM"),
    (locked, "GATEWAY_TLS_KEY: {key} is encrypted"),
    (expired, "GATEWAY_TLS_CERT: {cert}: certificate has expired"),
    (early, "GATEWAY_TLS_CERT: {cert}: certificate is not yet valid"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_a_bad_certificate_is_one_line(
    tmp_path: Path, spoil: Callable[[Pem], None], message: str
) -> None:
    """What is wrong with which file."""
    pem = Pem.make(tmp_path)
    spoil(pem)
    with pytest.raises(ConfigError) as refused:
        load(pem.cert, pem.key)
    assert message.format(cert=pem.cert, key=pem.key) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.exit_code == ExitCode.UNUSABLE


def test_the_end_of_a_certificate_is_known(tmp_path: Path) -> None:
    """It is what the file says."""
    pem = Pem.make(tmp_path, valid=timedelta(days=90))
    days = (load(pem.cert, pem.key).expires_at - datetime.now(UTC).timestamp()) / 86_400
    assert 89.9 < days < 90


@pytest.mark.parametrize(("days", "warns"), [(31, False), (29, True)])
def test_a_certificate_that_nobody_renewed_is_a_warning(
    tmp_path: Path, days: int, warns: bool
) -> None:
    """A month before the end, at the start and at every reload."""
    pem = Pem.make(tmp_path, valid=timedelta(days=days, hours=1))
    with capture_logs() as logs:
        CertificateReloader(pem.cert, pem.key).reload()
    warned = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert warned == ["certificate expires soon"] * (2 if warns else 0)
    assert timedelta(days=30).total_seconds() == EXPIRY_WARNING_S


def test_a_bad_new_certificate_changes_nothing(tmp_path: Path) -> None:
    """The old one goes on, and one line says why."""
    pem = Pem.make(tmp_path)
    reloader = CertificateReloader(pem.cert, pem.key)
    before = reloader.context
    swapped(pem)
    with capture_logs() as logs:
        reloader.reload()
    assert reloader.context is before
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("certificate not reloaded", "error")
    ]
    Pem.make(tmp_path)
    reloader.reload()
    assert reloader.context is not before


def test_the_local_certificate_is_made_once_and_again_in_time(tmp_path: Path) -> None:
    """Not on every start; before it expires; and when there is something else in its place."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    assert ensure(cert, key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert not ensure(cert, key)
    assert load(cert, key).expires_at > datetime.now(UTC).timestamp() + 700 * 86_400
    make(cert, key, valid=timedelta(days=29))
    assert ensure(cert, key)
    cert.write_text("soup")
    assert ensure(cert, key)
    key.unlink()
    assert ensure(cert, key)
