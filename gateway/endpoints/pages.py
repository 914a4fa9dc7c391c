"""The page, the console and what they load: the files of ``gateway/web/``, read once at start.

A request is looked up in a table of whole paths and never becomes the path of a file, so nothing
but these files can be asked for. ``index.html`` is ``/``, ``console.html`` is ``/console``, and
everything else is under ``/web/``.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response

from gateway.door.queries import path_of
from gateway.http import answers
from gateway.http.exchange import HttpRequest

FOLDER: Final = "web"
_PAGE: Final = "index.html"
_PATH_BY_DOCUMENT: Final = {_PAGE: "/", "console.html": "/console"}
_FURTHER: Final = b"<!-- further providers -->"  # where the page has their options
# The types by file name ending; other files are not served.
MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".wav": "audio/wav",
}
# Nothing from other origins, no inline code, no framing. 'self' includes WebSockets of the same
# host and port (CSP3 section 6.7.2.8).
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Browsers revalidate each time and get 304: an upgrade of the gateway shows at once.
        "Cache-Control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served."""

    content: bytes
    media_type: str
    etag: str

    def answer(self, headers: Headers) -> Response:
        """The file, or 304 when the browser has it already."""
        about = {**_HEADERS, "ETag": self.etag}
        known = ",".join(headers.get_all("If-None-Match")).split(",")
        if self.etag in (tag.strip() for tag in known):
            return answers.not_modified(about)
        return answers.response(200, self.content, self.media_type, about)


@dataclass(frozen=True, slots=True)
class Pages:
    """The table. An empty one serves nothing."""

    by_path: Mapping[str, Page] = field(default_factory=dict)

    def answer(self, request: HttpRequest) -> Response | None:
        """The file that ``request`` asks for, or None."""
        path = path_of(request.target)
        page = self.by_path.get(path)
        return None if page is None else page.answer(request.headers)

    @classmethod
    def load(cls, providers: Iterable[str] = ()) -> "Pages":
        """Read the files that came with the program. The page offers ``providers``, too."""
        found = dict(_files(resources.files("gateway") / FOLDER, ""))
        options = "".join(f"<option>{name}</option>" for name in providers).encode()
        found[_PAGE] = _page(found[_PAGE].content.replace(_FURTHER, _FURTHER + options), ".html")
        return cls(
            {_PATH_BY_DOCUMENT.get(name, f"/web/{name}"): page for name, page in found.items()}
        )


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Page]]:
    """(name below ``web/``, page) of every file that has one of the known endings."""
    for entry in folder.iterdir():
        ending = "." + entry.name.rpartition(".")[2]
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif ending in MEDIA_TYPES:
            yield f"{prefix}{entry.name}", _page(entry.read_bytes(), ending)


def _page(content: bytes, ending: str) -> Page:
    return Page(content, MEDIA_TYPES[ending], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
