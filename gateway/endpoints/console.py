"""The console's data: bounded reports of accountd about the account of the request's key.

Requests name no account: accountd finds it by the key's hash, and checks the key each time. All
endpoints only read. ``app`` adds them to ``endpoints.api`` when the page is served.
"""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from websockets.http11 import Response

from gateway.accountd_client.authorizations import Denial
from gateway.accountd_client.rpc_client import RpcClient
from gateway.door.admission import own_key_hash
from gateway.door.queries import split_target
from gateway.endpoints.api import Endpoint, Handler
from gateway.endpoints.fair_queue import FairQueue
from gateway.http.answers import PRIVATE, BrokenOffError, Download, download, json_response
from gateway.http.exchange import HttpRequest
from gateway.http.refusals import (
    Refusal,
    bad_request,
    refused_key,
    too_many_requests,
    unavailable,
)
from gateway.limits import (
    DOWNLOAD_PAUSE_S,
    DOWNLOAD_TRIES_MAX,
    DOWNLOADS,
    DOWNLOADS_EACH,
    REPORTS,
    REPORTS_EACH,
)
from shared.csv_cells import cells
from shared.errors import UnreachableError
from shared.metrics import Metric

_CSV: Final = "text/csv; charset=utf-8"
_CSV_PAGE_ROWS: Final = 200  # as many as accountd gives at once
_NUMBERS: Final = ("limit", "before")
_PERIOD: Final = ("since", "until")


class Console:
    """The endpoints under ``/api``."""

    def __init__(self, accountd: RpcClient) -> None:
        self._accountd = accountd
        self._queue = FairQueue(at_once=REPORTS, each=REPORTS_EACH)
        self._downloads = Counter[str]()  # by key

    def by_path(self) -> dict[str, Endpoint]:
        """The endpoints by path."""
        answers = {
            "/api/account": self._report("console.account"),
            "/api/keys": self._report("console.keys"),
            "/api/usage": self._report("console.usage", "by", *_PERIOD),
            "/api/usage/rows": self._report("console.rows", *_NUMBERS, *_PERIOD),
            "/api/usage.csv": self._csv,
        }
        return {path: Endpoint("GET", answer) for path, answer in answers.items()}

    def metrics(self) -> list[Metric]:
        """The numbers of this part, for ``/metrics``."""
        return [
            Metric(
                "rts_gateway_reports_waiting", "gauge",
                "Questions of consoles that were not answered yet.", lambda: self._queue.length,
            ),
            Metric(
                "rts_gateway_downloads", "gauge", "CSV files that are being sent.",
                self._downloads.total,
            ),
        ]  # fmt: skip

    def _report(self, method: str, *names: str) -> Handler:
        """An endpoint that passes the parameters ``names`` on to a report of accountd."""

        async def answer(request: HttpRequest) -> Response | Refusal:
            found = await self._ask(method, request, _parameters_of(request, names))
            return found if isinstance(found, Refusal) else json_response(200, found, PRIVATE)

        return answer

    async def _csv(self, request: HttpRequest) -> Download | Refusal:
        """All rows of a period, page by page at the pace of the client."""
        parameters = _parameters_of(request, _PERIOD)
        if isinstance(parameters, Refusal):
            return parameters
        parameters["limit"] = _CSV_PAGE_ROWS
        first = await self._ask("console.rows", request, parameters)
        if isinstance(first, Refusal):
            return first
        headers = {**PRIVATE, "Content-Disposition": 'attachment; filename="usage.csv"'}
        key_hash = own_key_hash(request.headers)
        assert isinstance(key_hash, str)  # accountd has accepted it above
        if self._downloads[key_hash] >= DOWNLOADS_EACH:
            return too_many_requests(f"{DOWNLOADS_EACH} files are being sent with this key already")
        if self._downloads.total() >= DOWNLOADS:
            return unavailable(f"{DOWNLOADS} files are being sent already; try again")
        text = _csv_text(first, has_header=True)
        before = first["next_before"]
        return download(self._pages(key_hash, request, parameters, text, before), _CSV, headers)

    async def _pages(
        self,
        key_hash: str,
        request: HttpRequest,
        parameters: Mapping[str, Any],
        text: bytes,
        before: int | None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield ``text``, then pages of rows with ids below ``before``. The download counts from
        the first piece on, which is taken at once.

        While the client is slow only the text of one page is kept; its rows take ten times as much.
        """
        self._downloads[key_hash] += 1
        try:
            yield text
            while before is not None:
                page = await self._next_page(request, {**parameters, "before": before})
                text, before = _csv_text(page), page["next_before"]
                del page
                yield text
        finally:
            self._downloads[key_hash] -= 1
            if not self._downloads[key_hash]:
                del self._downloads[key_hash]

    async def _next_page(
        self, request: HttpRequest, parameters: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The next page of a file that was begun; retried while accountd restarts.

        Raises ``BrokenOffError``.
        """
        trouble = ""
        for number in range(DOWNLOAD_TRIES_MAX):
            if number:
                await asyncio.sleep(DOWNLOAD_PAUSE_S * 2 ** (number - 1))
            try:
                found = await self._ask("console.rows", request, parameters)
            except UnreachableError as exc:
                trouble = str(exc)
            else:
                if not isinstance(found, Refusal):
                    return found
                trouble = found.message
                if found.status not in (429, 503):
                    break
        raise BrokenOffError(trouble)

    async def _ask(
        self, method: str, request: HttpRequest, parameters: Mapping[str, Any] | Refusal
    ) -> Mapping[str, Any] | Refusal:
        key_hash = own_key_hash(request.headers)
        if isinstance(key_hash, Refusal):
            return key_hash
        if isinstance(parameters, Refusal):
            return parameters
        query = {**parameters, "key_hash": key_hash}
        found = await self._queue.run(key_hash, lambda: self._accountd.report(method, query))
        return _refusal_for(found) if isinstance(found, Denial) else found


def _parameters_of(request: HttpRequest, names: tuple[str, ...]) -> dict[str, Any] | Refusal:
    """Those of a request's parameters that a report has; accountd checks their values."""
    _, pairs, _ = split_target(request.target)
    parameters: dict[str, Any] = {}
    for name, value in pairs:
        if name not in names or not value:
            continue
        if name not in _NUMBERS:
            parameters[name] = value
        elif value.isascii() and value.isdecimal() and len(value) < 20:
            parameters[name] = int(value)
        else:
            return bad_request(f"{name}: found {value[:32]!r}, expected a number")
    return parameters


def _refusal_for(denial: Denial) -> Refusal:
    if denial.code in ("bad_request", "too_large"):
        return bad_request(denial.message)
    return refused_key(denial.code, denial.message)


def _csv_text(page: Mapping[str, Any], *, has_header: bool = False) -> bytes:
    text, columns = io.StringIO(), page["columns"]
    writer = csv.writer(text)
    if has_header:
        writer.writerow(columns)
    writer.writerows(cells(row[name] for name in columns) for row in page["rows"])
    return text.getvalue().encode()
