"""What parts of the gateway make of any bytes, and what has to be true then.

Each function takes bytes, generated (``tests/property``) or found by ``atheris`` (``tests/chaos``),
and raises where a part does what it should not. ``fuzz_gateway`` has those for a whole gateway.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from websockets.frames import Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol

from gateway.callers import proxy_header
from gateway.callers.proxy_header import ProxyHeaderError
from gateway.frame_scanner import FrameScanner, Violation
from gateway.frames import Frame, frames_of
from gateway.metering.base import Meter, Metered, MeterResult
from gateway.metering.gemini.meter import GeminiMeter
from gateway.metering.openai.gpt_live import LiveMeter
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.openai.translation import TranslationMeter
from shared.usage import Kind
from tests.support.metering import survives_the_wire
from tests.support.raw_frames import BINARY, KEY, LAST, TEXT, frame

SEPARATOR: Final = b"\x1e"  # between records
_MESSAGE_MAX: Final = 70_000
# A close in a message is refused by its header, whatever else may be wrong with it.
_IN_MESSAGE: Final = Violation(1002, "incomplete fragmented message")
_CLOSE: Final = int(Opcode.CLOSE)
METERS: Final[Sequence[Callable[[], Meter]]] = (
    lambda: OpenAIMeter(model="gpt-realtime"),
    lambda: OpenAIMeter(model="grok", bills_seconds=True),
    lambda: GeminiMeter(model=""),
    LiveMeter,
    lambda: TranslationMeter(model="gpt-realtime-translate"),
)


def frames(data: bytes) -> None:
    """Any bytes after a first one that says whose they are, and where they are cut: the scanner
    finds what ``websockets`` finds, whole, by the short way and byte by byte.
    """
    if not data:
        return
    is_masked, cut, data = bool(data[0] & 1), 1 + (data[0] >> 1), data[1:]
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
    whole, short, pieced = (
        FrameScanner(expects_mask=is_masked, message_bytes_max=_MESSAGE_MAX) for _ in range(3)
    )
    found = whole.feed(data)
    assert (frames_of(data, short.messages(data)) or short.feed(data)) == found
    assert short.violation == whole.violation
    assert [x.raw for piece in pieces for x in pieced.feed(piece)] == [x.raw for x in found]
    assert (pieced.violation is None) is (whole.violation is None)
    assert whole.pending_bytes <= len(data)
    _compare(data, is_masked, [x.opcode for x in found], whole)


def _compare(data: bytes, is_masked: bool, found: Sequence[int], scanner: FrameScanner) -> None:
    protocol = Protocol(SERVER if is_masked else CLIENT, state=OPEN, max_size=_MESSAGE_MAX)
    protocol.receive_data(data)
    theirs = [int(event.opcode) for event in protocol.events_received()]  # type: ignore[union-attr]
    if _CLOSE in found:  # what follows a close is read by nobody
        assert found[: found.index(_CLOSE)] == [code for code in theirs if code != _CLOSE]
        return
    assert list(found) == theirs
    if protocol.parser_exc is not None:
        assert protocol.close_sent is not None
        assert scanner.violation is not None
        code = int(protocol.close_sent.code)
        assert scanner.violation.close_code == code or scanner.violation == _IN_MESSAGE
    elif scanner.violation is not None:  # a header that ``websockets`` judges with its payload
        assert scanner.violation.close_code == 1002


def prelude(data: bytes) -> None:
    """The header of the PROXY protocol is the same, or refused, with each byte that comes."""
    answers: list[object] = []
    for size in range(min(len(data), proxy_header.BYTES_MAX) + 1):
        try:
            header = proxy_header.read(data[:size])
        except ProxyHeaderError as exc:
            answers.append(str(exc))
            continue
        assert header is None or 16 <= header.size <= size
        if header is not None:
            answers.append(header)
    assert len(set(map(str, answers))) <= 1 or all(isinstance(x, str) for x in answers)


def meters(data: bytes) -> None:
    """Any messages after a byte that names the meter: what is found can be told to accountd, and
    the same is found in messages that come in fragments.
    """
    if not data:
        return
    whole, pieced = (METERS[data[0] % len(METERS)]() for _ in range(2))
    found: list[MeterResult] = []
    again: list[MeterResult] = []
    for record in data[1:].split(SEPARATOR):
        is_client, said = record[:1] in b"cC", record[1:]
        opcode = BINARY if record[:1] == b"b" else TEXT
        (one,) = _scanned(frame(opcode, said, key=KEY if is_client else b""), is_client)
        skim, observe = (
            (whole.skim_client, whole.observe_client) if is_client else (whole.skim, whole.observe)
        )
        if not skim(one.raw, one.span):
            found += observe(one)
        again += _in_two(pieced, opcode, said, is_client=is_client)
    found += whole.finish()
    again += pieced.finish()
    survives_the_wire(found)
    assert _reported(found) == _reported(again)
    slack_ms = 2 * data.count(SEPARATOR) + 4  # the heads of frames, of audio at 8 kB a second
    assert abs(_estimated_ms(found) - _estimated_ms(again)) <= slack_ms


def _reported(found: Sequence[MeterResult]) -> list[object]:
    """What is not estimated by the bytes of frames; of an estimate, that there is one."""
    return [
        (one.kind, one.response_id)
        if isinstance(one, Metered) and one.kind is Kind.ESTIMATE
        else one
        for one in found
        if not (isinstance(one, Metered) and one.kind is Kind.ESTIMATED_DURATION)
    ]


def _estimated_ms(found: Sequence[MeterResult]) -> int:
    """The audio that is estimated by the bytes of frames."""
    return sum(
        one.usage.billed_ms
        for one in found
        if isinstance(one, Metered) and one.kind is Kind.ESTIMATED_DURATION
    )


def _scanned(raw: bytes, is_client: bool) -> list[Frame]:
    return FrameScanner(expects_mask=is_client).feed(raw)


def _in_two(meter: Meter, opcode: int, said: bytes, *, is_client: bool) -> Iterator[MeterResult]:
    key = KEY if is_client else b""
    half = len(said) // 2
    raw = frame(opcode & 0x7F, said[:half], key=key) + frame(LAST, said[half:], key=key)
    for one in _scanned(raw, is_client):
        yield from (meter.observe_client if is_client else meter.observe)(one)
