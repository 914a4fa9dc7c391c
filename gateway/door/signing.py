"""The secrets that sign ephemeral keys: a file, checked at start and read anew on SIGHUP.

``app`` makes it and calls ``reload``; ``admission`` and ``minting`` read ``secrets``.
"""

from pathlib import Path
from typing import Final

import structlog

from gateway.door.ephemeral import read_secrets
from shared import secret_files
from shared.errors import ConfigError

log = structlog.get_logger()

NAME: Final = "GATEWAY_EPHEMERAL_SECRET_FILE"


class Signing:
    """The current secrets; the first one signs."""

    def __init__(self, path: Path) -> None:
        """Read them; raises ``ConfigError``."""
        self._path = path
        self.secrets = _load(path)

    def reload(self) -> None:
        """Read the file again; when it is invalid, log that and keep the secrets."""
        try:
            self.secrets = _load(self._path)
        except ConfigError as exc:
            log.error("ephemeral secrets not reloaded", reason=str(exc))
            return
        log.info("ephemeral secrets reloaded", secrets=len(self.secrets))


def _load(path: Path) -> tuple[bytes, ...]:
    text = secret_files.read(NAME, path)
    try:
        return read_secrets(text)
    except ValueError as exc:
        raise ConfigError(
            f"{NAME}: {path}: {exc}",
            hint="python3 -c 'import secrets; print(secrets.token_hex(32))' makes one",
        ) from exc
