"""One plain HTTP request to a gateway, and its answer."""

import http.client
import json
import ssl
from dataclasses import dataclass
from email.message import Message
from typing import Any

from tests.support.harness import ASK_S


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The code of an error of ours."""
        code = self.json["error"]["code"]
        assert isinstance(code, str)
        return code


def ask(
    address: str,
    method: str,
    path: str,
    *,
    key: str = "",
    tls: ssl.SSLContext | None = None,
    seconds: float = 10,
    **options: Any,
) -> Answer:
    """Send one request to HOST:PORT; ``key`` as Bearer, other options as http.client has them.

    ``seconds`` is how long a connection may be silent.
    """
    host, port = address.split(":")
    connection = (
        http.client.HTTPConnection(host, int(port), timeout=seconds)
        if tls is None
        else http.client.HTTPSConnection(host, int(port), timeout=seconds, context=tls)
    )
    headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request(method, path, headers=headers, **options)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def readiness(address: str) -> tuple[int, str]:
    """What /readyz of a daemon at HOST:PORT says: its status, and in a few words why."""
    answer = ask(address, "GET", "/readyz", seconds=ASK_S)
    return answer.status, answer.json.get("detail", "")
