"""Files with secrets, as an operator keeps them: nobody else may read them."""

from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write ``text`` to a file with mode 0600, a new one or one that is there."""
    path.touch(0o600)
    path.chmod(0o600)
    path.write_text(text)
