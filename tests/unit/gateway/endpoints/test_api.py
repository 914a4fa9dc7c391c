"""Which endpoint is behind a path of plain HTTP."""

import json
import re

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Response

from gateway.endpoints.api import Api, Endpoint
from gateway.endpoints.minting import CLIENT_SECRETS, TRANSLATION_SECRETS
from gateway.http.answers import json_response
from gateway.http.exchange import HttpRequest


async def tell(request: HttpRequest) -> Response:
    """Answer what the path named."""
    return json_response(200, dict(request.path_parameters))


CALL = re.compile(r"/realtime/calls/(?P<call>[^/]+)/(?P<verb>accept|hangup)$")
OWN, SECRETS, TRANSLATING, VERB = (Endpoint("POST", tell) for _ in range(4))
API = Api(
    {"/demo": OWN},
    by_pattern={CLIENT_SECRETS: SECRETS, TRANSLATION_SECRETS: TRANSLATING, CALL: VERB},
)

PATHS = [
    ("/demo", OWN),
    ("/demo?x=1", OWN),
    ("/t/demo", None),
    ("/v1/realtime/client_secrets", SECRETS),
    ("/realtime/client_secrets", SECRETS),
    ("//v1//realtime/client_secrets/", SECRETS),
    ("/t/acme/v1/realtime/client_secrets?x=1", SECRETS),
    ("/s/realtime/v1/realtime/client_secrets", SECRETS),
    ("/openai/v1/realtime/client_secrets", SECRETS),
    ("/xai/v1/realtime/client_secrets", SECRETS),
    ("/t/acme/xai/realtime/client_secrets", SECRETS),
    ("/v1/realtime/translations/client_secrets", TRANSLATING),
    ("/t/acme/realtime/translations/client_secrets", TRANSLATING),
    ("/openai/v1/realtime/translations/client_secrets", None),
    ("/xai/v1/realtime/translations/client_secrets", None),
    ("/openai/realtime/client_secrets", None),
    ("/OpenAI/realtime/client_secrets", None),
    ("/%6fpenai/realtime/client_secrets", None),
    ("/voice-live/realtime/client_secrets", None),
    ("/voice-agent/v1/realtime/client_secrets", None),
    ("/v1/live/realtime/client_secrets", None),
    ("/v1/realtime/realtime/client_secrets", None),
    ("/v1/realtime/translations/realtime/client_secrets", None),
    ("/xai/acme/v1/realtime/client_secrets", None),
    ("/v1/surrealtime/client_secrets", None),
    ("/v1/realtime/client_secrets/x", None),
    ("/v1/realtime/client_secrets%2F", None),
    ("/v1/realtime/calls/rtc_1/hangup", VERB),
    ("/v1/realtime/calls/rtc_1/sing", None),
    ("/v1/live/realtime/calls/rtc_1/hangup", None),
]


@pytest.mark.parametrize(("target", "endpoint"), PATHS)
def test_a_path_is_matched_whole(target: str, endpoint: Endpoint | None) -> None:
    """After any prefix; one that only ends like an endpoint's is another path."""
    found = API.find(target)
    assert (found and found.endpoint) is endpoint


async def test_an_endpoint_hears_what_its_path_names() -> None:
    """As it is spelled there."""
    found = API.find("/t/acme/v1/realtime/calls/rtc%201/hangup")
    assert found is not None
    answer = await API.answer(found, HttpRequest("POST", "", Headers(), b""))
    assert isinstance(answer, Response)
    assert json.loads(answer.body or b"") == {"call": "rtc%201", "verb": "hangup"}
