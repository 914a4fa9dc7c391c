"""The console's data: bounded reports of accountd about the account whose key asks.

accountd answers about the account of that key and no other, and checks the key each time. Nothing
here changes anything.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from websockets.http11 import Response

from gateway.accounts import Accounts, Denial
from gateway.admission import own_key_hash
from gateway.answers import PRIVATE, json_response, response
from gateway.api import Answer, Endpoint
from gateway.exchange import HttpRequest
from gateway.limits import CSV_ROWS_MAX
from gateway.refusals import Refusal, bad_request, refused_key
from gateway.routing import split_target

_CSV: Final = "text/csv; charset=utf-8"
_CSV_PAGE_ROWS: Final = 200  # as many as accountd gives at once
_NUMBERS: Final = ("limit", "before")
_PERIOD: Final = ("since", "until")
# A spreadsheet takes what begins so for a formula; a session's name is its client's to choose.
_FORMULA: Final = ("=", "+", "-", "@")


class Console:
    """The endpoints under ``/api``."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def by_path(self) -> dict[str, Endpoint]:
        """What is behind which path."""
        answers = {
            "/api/account": self._report("console.account"),
            "/api/keys": self._report("console.keys"),
            "/api/usage": self._report("console.usage", "by", *_PERIOD),
            "/api/usage/rows": self._report("console.rows", *_NUMBERS, *_PERIOD),
            "/api/usage.csv": self._csv,
        }
        return {path: Endpoint("GET", answer) for path, answer in answers.items()}

    def _report(self, method: str, *names: str) -> Answer:
        """An endpoint that passes the parameters ``names`` on to a report of accountd."""

        async def answer(request: HttpRequest) -> Response | Refusal:
            found = await self._ask(method, request, _asked(request, names))
            return found if isinstance(found, Refusal) else json_response(200, found, PRIVATE)

        return answer

    async def _csv(self, request: HttpRequest) -> Response | Refusal:
        """All rows of a period, page by page: no report is long, and sessions go on in between."""
        asked = _asked(request, _PERIOD)
        if isinstance(asked, Refusal):
            return asked
        asked["limit"] = _CSV_PAGE_ROWS
        text = io.StringIO()
        count = 0
        while True:
            found = await self._ask("console.rows", request, asked)
            if isinstance(found, Refusal):
                return found
            writer = csv.DictWriter(text, found["columns"])
            if not count:
                writer.writeheader()
            writer.writerows(_plain(row) for row in found["rows"])
            count += len(found["rows"])
            if found["next_before"] is None:
                break
            if count >= CSV_ROWS_MAX:
                expected = (
                    f"expected at most {CSV_ROWS_MAX}; name a shorter period, since and until"
                )
                return bad_request(
                    f"found more than {count} rows, {expected}", code="too_many_rows"
                )
            asked["before"] = found["next_before"]
        headers = {**PRIVATE, "Content-Disposition": 'attachment; filename="usage.csv"'}
        return response(200, text.getvalue().encode(), _CSV, headers)

    async def _ask(
        self, method: str, request: HttpRequest, asked: Mapping[str, Any] | Refusal
    ) -> Mapping[str, Any] | Refusal:
        key_hash = own_key_hash(request.headers)
        if isinstance(key_hash, Refusal):
            return key_hash
        if isinstance(asked, Refusal):
            return asked
        found = await self._accounts.report(method, {**asked, "key_hash": key_hash})
        return _refused(found) if isinstance(found, Denial) else found


def _asked(request: HttpRequest, names: tuple[str, ...]) -> dict[str, Any] | Refusal:
    """The parameters of a request that a report knows; accountd checks what they say."""
    _, parameters, _ = split_target(request.target)
    asked: dict[str, Any] = {}
    for name, value in parameters:
        if name not in names or not value:
            continue
        if name not in _NUMBERS:
            asked[name] = value
        elif value.isascii() and value.isdecimal() and len(value) < 20:
            asked[name] = int(value)
        else:
            return bad_request(f"{name}: found {value[:32]!r}, expected a number")
    return asked


def _refused(denial: Denial) -> Refusal:
    if denial.code in ("bad_request", "too_large"):
        return bad_request(denial.message)
    return refused_key(denial.code, denial.message)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which no text is a formula."""
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
        for name, value in row.items()
    }
