"""What fuzzing begins with: right bytes of every kind, and the words that they consist of."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.callers.proxy_header import SIGNATURE
from tests.support import golden_audio, golden_gemini, golden_openai
from tests.support.fuzz_gateway import SESSIONS, upgrade
from tests.support.fuzz_parts import SEPARATOR
from tests.support.fuzz_talks import TALKS
from tests.support.gateway_in_process import API_KEY
from tests.support.golden import Script, Step
from tests.support.raw_frames import (
    BINARY,
    CLOSE,
    KEY,
    LAST,
    MIDDLE,
    PING,
    PONG,
    RSV1,
    TEXT,
    TEXT_BEGINS,
    closing,
    frame,
)

SCRIPTS: Final = golden_openai.SCRIPTS + golden_gemini.SCRIPTS + golden_audio.SCRIPTS
_STEPS_MAX: Final = 12  # of a script: long ones are slow, and repeat themselves
_RECORD_BYTES_MAX: Final = 2_000

_BODY = b'{"session":{"type":"realtime","model":"gpt-realtime"}}'
_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n'
    b'--b\r\nContent-Disposition: form-data; name="session"\r\n\r\n' + _BODY + b"\r\n--b--\r\n"
)
_AUTHORIZED = b"Host: h\r\nAuthorization: Bearer " + API_KEY.encode() + b"\r\n"


def _post(path: bytes, media_type: bytes, body: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\n" % (path, _AUTHORIZED, media_type)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


REQUESTS: Final = (
    *map(upgrade, SESSIONS),
    upgrade("/s/name/v1/realtime?model=gpt-realtime&rs_events=1"),
    upgrade("/v1/realtime?call_id=rtc_1"),
    upgrade("/v1/realtime?intent=transcription") + frame(TEXT, b"{}", key=KEY),
    upgrade("/provider/xai/v1/realtime?model=gpt-realtime").replace(b": Upgrade", b": a, Upgrade"),
    upgrade("/?rs_key=x&rs_sessid=s&rs_api=GEMINI").replace(b"Bearer", b"Basic"),
    *[b"GET %b HTTP/1.1\r\n%b\r\n" % (path, _AUTHORIZED) for path in (
        b"/", b"/healthz", b"/readyz", b"/console", b"/v1/realtime?model=gpt-realtime",
        b"/api/account", b"/api/usage?by=day&since=2026-01-01", b"/api/usage/rows?page=2",
        b"/api/usage.csv?until=2026-01-01", b"/nothing?a=%00&b",
    )],
    b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /index.html HTTP/1.0\r\n\r\n",
    b"OPTIONS /v1/realtime/client_secrets HTTP/1.1\r\nHost: h\r\nOrigin: https://a\r\n\r\n",
    _post(b"/v1/realtime/client_secrets", b"application/json", _BODY),
    _post(b"/v1/realtime/calls", b"multipart/form-data; boundary=b", _FORM),
    _post(b"/v1/realtime/calls?model=gpt-realtime", b"application/sdp", b"v=0\r\n"),
    _post(b"/v1/realtime/calls/rtc_1/hangup", b"application/json", b""),
    _post(b"/v1alpha/auth_tokens", b"application/json", b"{}"),
    b"POST /v1/realtime/client_secrets HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\n{\"a\":\r\n2\r\n1}\r\n0\r\nTrailer: x\r\n\r\n" % _AUTHORIZED,
    b"PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    b"\x16\x03\x01\x02\x00\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip


def proxied(command: int, family: int, body: bytes) -> bytes:
    """A header of the PROXY protocol."""
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


PRELUDES: Final = (
    proxied(0x21, 0x11, bytes([10, 0, 0, 7, 10, 0, 0, 1, 1, 2, 3, 4])),
    proxied(0x21, 0x21, bytes(36)),
    proxied(0x20, 0x00, b""),
    proxied(0x21, 0x11, bytes(12) + b"\x02\x00\x03abc" + b"\x04\x00\x00"),
)
WRONG_PRELUDES: Final = (
    proxied(0x21, 0x11, bytes(11)),
    proxied(0x21, 0x21, bytes(12)),
    proxied(0x21, 0x11, bytes(12) + b"\x02\x00\x04abc"),
    proxied(0x21, 0x12, bytes(12)),
    PRELUDES[0].replace(b"QUIT", b"quit"),
)
FRAMES: Final = tuple(
    bytes([is_masked]) + b"".join(frame(first, said, key=KEY * is_masked) for first, said in said_)
    for is_masked in (0, 1)
    for said_ in (
        [(TEXT, b"hello"), (BINARY, bytes(126))],
        [(TEXT_BEGINS, b"a"), (PING, b"p"), (MIDDLE, b""), (LAST, b"b")],
        [(PONG, b""), (CLOSE, b"\x03\xe8bye"), (TEXT, b"late")],
        [(BINARY, bytes(300)), (RSV1 | TEXT, b"x")],
    )
)
# The beginning of a message that is passed on before its end is there.
_DELTA: Final = b'{"type":"response.output_audio.delta","delta":"' + b"A" * 100
# What happens in the middle of a session.
_MANNERS: Final = (
    b"s", b"S", b"t", b"t\x0a", b"x", b"E", b"e",
    *[b"C" + closing(code, reason, key=KEY) for code, reason in ((1000, b""), (1000, b"\xff"))],
    *[b"P" + closing(code, reason) for code, reason in ((1011, b""), (1000, b"\xff"), (999, b""))],
    b"P" + frame(TEXT_BEGINS, _DELTA) + SEPARATOR + b"x",
    b"C" + frame(TEXT_BEGINS, b"a", key=KEY) + SEPARATOR + b"e",
    b"C" + frame(RSV1 | TEXT, b"a", key=KEY),
    b"P" + frame(TEXT, b"a", key=KEY),
)  # fmt: skip


def _records(steps: Sequence[Step]) -> list[bytes]:
    """Steps of a script as records."""
    found = [
        (b"c" if step.is_client else b"b" if step.is_binary else b"p") + step.text()
        for step in steps[:_STEPS_MAX]
    ]
    return [one for one in found if len(one) <= _RECORD_BYTES_MAX and SEPARATOR not in one]


def _kind(script: Script, names: Sequence[str]) -> int:
    """Which of ``names`` a script is a session of."""
    name = (
        "gemini"
        if script.is_gemini
        else "live" if script.model is None
        else script.shape if script.shape in names else "openai"
    )  # fmt: skip
    return names.index(name)


def _of_scripts(names: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    for script in SCRIPTS:
        if (records := _records(script.steps)) != []:
            yield _kind(script, names), records


_METERS: Final = ("openai", "xai", "gemini", "live", "translation")
_SESSIONS: Final = ("openai", "-", "gemini", "-", "xai", "live", "translation")


def _sessions() -> Iterator[bytes]:
    """Scripts in which something happens in the middle, and talks as far as any place of them."""
    for number, (kind, records) in enumerate(_of_scripts(_SESSIONS)):
        yield _disturbed(kind, records, number)
    for kind, talk in TALKS:
        yield bytes([kind]) + SEPARATOR.join(talk)
        for number in range(4, len(talk), 4):
            yield _disturbed(kind, talk[: number + 3], number)


def _disturbed(kind: int, records: Sequence[bytes], number: int) -> bytes:
    cut, manner = number % (len(records) + 1), _MANNERS[number % len(_MANNERS)]
    return bytes([kind]) + SEPARATOR.join([*records[:cut], manner, *records[cut:]])


def seeds() -> Mapping[str, Sequence[bytes]]:
    """By the name of a target."""
    return {
        "frames": FRAMES,
        "prelude": [*PRELUDES, *WRONG_PRELUDES],
        "meters": [bytes([kind]) + SEPARATOR.join(said) for kind, said in _of_scripts(_METERS)],
        "door": [
            *[b"\0" + request for request in REQUESTS],
            *[b"\1" + PRELUDES[n % 4] + request for n, request in enumerate(REQUESTS[:8])],
            *[b"\1" + prelude + REQUESTS[0] for prelude in WRONG_PRELUDES],
            *[b"\x0e" + request for request in REQUESTS],
        ],
        "relay": list(_sessions()),
    }


def words() -> list[bytes]:
    """Names and values of the seeds, and what HTTP consists of."""
    said = b" ".join(one for name in ("relay", "door") for one in seeds()[name])
    names = set(re.findall(rb'"[A-Za-z_.]{2,40}"', said)) | set(re.findall(rb"[A-Z][\w-]+: ", said))
    return sorted(names | {SEPARATOR + letter for letter in (b"c", b"p", b"b", b"C", b"P", b"t")})
