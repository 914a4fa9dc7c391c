"""A gateway that serves the recorder's worklet too: a page's policy lets no other address."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from gateway import cli
from gateway.endpoints import pages

NAME = "recorder-worklet.js"
_load = pages.Pages.load


def _with_recorder(providers: Iterable[str] = ()) -> pages.Pages:
    content = (Path(__file__).parent / NAME).read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    page = pages.Page(content, pages.MEDIA_TYPES[".js"], etag)
    return pages.Pages({**_load(providers).by_path, f"/web/{NAME}": page})


pages.Pages.load = staticmethod(_with_recorder)  # type: ignore[method-assign,assignment]
cli.main()
