"""Certificates for tests."""

import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deploy.certificate import VALID, make


@dataclass(frozen=True)
class Pem:
    """A certificate for localhost and its key."""

    cert: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, name: str = "tls", *, valid: timedelta = VALID) -> "Pem":
        """A new pair of files, or new content for them."""
        pem = cls(folder / f"{name}-cert.pem", folder / f"{name}-key.pem")
        make(pem.cert, pem.key, valid=valid)
        return pem

    @property
    def settings(self) -> dict[str, str]:
        """For a gateway, on a free port."""
        return {
            "GATEWAY_TLS_CERT": str(self.cert), "GATEWAY_TLS_KEY": str(self.key),
            "GATEWAY_TLS_LISTEN": "127.0.0.1:0",
        }  # fmt: skip

    def trusting(self) -> ssl.SSLContext:
        """What a client needs that knows this certificate."""
        return ssl.create_default_context(cafile=self.cert)
