"""Metered before forwarded: in which order things happen to a frame of the provider."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import Discard
from gateway.frames import Frame, Span
from gateway.limits import MESSAGE_BYTES_MAX, PRE_OPEN_BYTES_MAX, PRE_OPEN_SESSIONS_MAX
from gateway.metering.base import NO_RESULTS, MeterResult
from gateway.metering.batching import BillingContext
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.usage_recorder import Recorder
from gateway.relay.sinks import (
    DownstreamForwarder,
    MeterOnly,
    PreOpenBuffer,
    UpstreamForwarder,
)
from shared.usage import UsageBatch
from tests.support.noting_sender import Happened, NotingSender


class NotingConnection(Connection):
    """A connection that writes down which responses it is given, or fails to write them."""

    def __init__(self, happened: Happened, *, is_broken: bool = False) -> None:
        self._happened = happened
        self._is_broken = is_broken

    def write(self, frames: Sequence[Frame]) -> None:
        """See ``Connection``."""
        self._happened.append(("written", *(id_of(frame) for frame in frames)))
        if self._is_broken:
            raise ConnectionResetError

    def write_messages(self, read: bytes) -> None:
        """See ``Connection``."""
        self._happened.append(("written", read))


class PausingConnection(Connection):
    """A client's connection without a peer; ``paused`` are the reasons to pause it."""

    def __init__(self) -> None:
        self.paused = Pause(0)
        self.partial_max = MESSAGE_BYTES_MAX

    def pause(self, reason: Pause) -> None:
        """See ``Connection``."""
        self.paused |= reason

    def resume(self, reasons: Pause) -> None:
        """See ``Connection``."""
        self.paused &= ~reasons


def test_so_many_clients_are_kept_before_their_providers_are_there() -> None:
    """Any further one is not read, until its own provider is there; a place is given back once."""
    clients = [PausingConnection() for _ in range(PRE_OPEN_SESSIONS_MAX + 1)]
    buffers = [PreOpenBuffer(client, lambda _close: None) for client in clients]
    assert [client.paused for client in clients[:-1]] == [Pause(0)] * PRE_OPEN_SESSIONS_MAX
    assert clients[-1].paused == Pause.CROWDED
    assert {client.partial_max for client in clients} == {PRE_OPEN_BYTES_MAX}
    buffers[-1].release(Discard())
    buffers[0].close()
    buffers[0].close()
    assert clients[-1].paused == Pause(0)
    assert clients[-1].partial_max == MESSAGE_BYTES_MAX
    assert PreOpenBuffer.opened == PRE_OPEN_SESSIONS_MAX - 1
    for buffer in buffers:
        buffer.close()
    assert PreOpenBuffer.opened == 0


def done(name: str) -> Frame:
    """The response.done of a response."""
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    response = {"id": name, "status": "completed", "usage": usage}
    event = json.dumps({"type": "response.done", "response": response}).encode()
    return Frame(1, True, 2, b"\x81\x00" + event)


def id_of(frame: Frame) -> str:
    """Which response a frame is about."""
    return str(json.loads(frame.raw[2:])["response"]["id"])


def in_one_read(*frames: Frame) -> tuple[bytes, list[Span]]:
    """Messages in one frame each, as the scanner finds them in a read."""
    spans: list[Span] = []
    at = 0
    for frame in frames:
        spans.append((frame.opcode, at, at + frame.start, at + len(frame.raw)))
        at += len(frame.raw)
    return b"".join(frame.raw for frame in frames), spans


class Purse:
    """Credit without end."""

    is_near_empty = False

    def spend(self, single: UsageBatch) -> int:
        """It costs what it used."""
        return single.usage.total_tokens

    def sealed(self, nano: int, producer: bytes, sequence: int) -> None:
        """Not checked here."""


def recorder(happened: Happened, **settings: bool) -> Recorder:
    """The recorder of a session that talks to OpenAI."""
    sender = NotingSender(happened, **settings)
    return Recorder(BillingContext("a", "s", "openai"), OpenAIMeter(model="m"), sender, Purse())


def to_client(
    happened: Happened, *, is_broken: bool = False, **settings: bool
) -> DownstreamForwarder:
    """The sink of the provider's frames, with a real recorder between doubles."""
    connection: Any = NotingConnection(happened, is_broken=is_broken)
    return DownstreamForwarder(
        recorder(happened, **settings),
        connection,
        on_metered=lambda: happened.append(("metered",)),
        on_close=lambda _ended: None,
    )


def test_a_response_is_noted_before_its_event_is_forwarded() -> None:
    """A gateway that is killed in between has charged what the client never heard, not less."""
    happened: Happened = []
    to_client(happened).frames_received([done("one")])
    assert happened == [("noted", "one"), ("written", "one"), ("metered",)]


def test_all_of_one_reading_is_noted_before_any_of_it_is_forwarded() -> None:
    """The write takes the frames as they came, in one piece."""
    happened: Happened = []
    to_client(happened).frames_received([done("one"), done("two")])
    assert happened == [
        ("noted", "one"), ("noted", "two"), ("written", "one", "two"), ("metered",),
    ]  # fmt: skip


def test_a_reading_of_whole_messages_is_noted_before_it_is_forwarded() -> None:
    """The audio before it, and behind it, goes on in the same piece."""
    happened: Happened = []
    audio = Frame(2, True, 2, b"\x82\x02\x00\x01")
    reads = [
        in_one_read(*frames)
        for frames in ([audio, done("one"), audio, done("two")], [audio], [done("three")])
    ]
    for read, spans in reads:
        to_client(happened).messages_received(read, spans)
    (first, _), (second, _), (third, _) = reads
    assert happened == [
        ("noted", "one"), ("noted", "two"), ("written", first), ("metered",),
        ("written", second),
        ("noted", "three"), ("written", third), ("metered",),
    ]  # fmt: skip


def test_an_error_about_our_account_is_replaced_in_a_reading_of_whole_messages() -> None:
    """The client gets what the recorder makes of it, and the audio beside it as it came."""
    happened: Happened = []
    failed = {"type": "error", "error": {"code": "insufficient_quota", "message": "our bill"}}
    secret = b"\x81\x00" + json.dumps(failed).encode()
    sink = to_client(happened)
    written: list[bytes] = []

    class Written(NotingConnection):
        def write(self, frames: Sequence[Frame]) -> None:
            written.extend(frame.raw for frame in frames)

    sink._client = Written(happened)
    audio = Frame(2, True, 2, b"\x82\x02\x00\x01")
    sink.messages_received(*in_one_read(audio, Frame(1, True, 2, secret)))
    assert written[0] == audio.raw
    assert len(written) == 2
    assert b"our bill" not in written[1]
    assert happened == [], "nothing of it as it came"


def test_a_client_that_cannot_be_written_to_is_charged_all_the_same() -> None:
    """The provider has done the work; what was metered does not depend on the write."""
    happened: Happened = []
    with pytest.raises(ConnectionResetError):
        to_client(happened, is_broken=True).frames_received([done("one")])
    assert happened == [("noted", "one"), ("written", "one")]


def test_a_response_is_noted_before_it_is_sent() -> None:
    """Sealing covers numbers of the journal: with a full disk every response is sent at once."""
    happened: Happened = []
    to_client(happened, sends_at_once=True).frames_received([done("one"), done("two")])
    assert happened == [
        ("noted", "one"), ("sent", "one"), ("noted", "two"), ("sent", "two"),
        ("written", "one", "two"), ("metered",),
    ]  # fmt: skip


def test_a_complete_batch_is_sent_before_its_last_event_is_forwarded() -> None:
    """Every response in it is in the journal by then."""
    happened: Happened = []
    names = ["one", "two", "three", "four", "five"]
    to_client(happened).frames_received([done(name) for name in names])
    assert happened == [*(("noted", name) for name in names), ("sent", *names),
                        ("written", *names), ("metered",)]  # fmt: skip


def test_the_meter_sees_the_client_before_the_provider_does() -> None:
    """What the client asks for decides how the answer is metered: it is looked at first."""
    happened: Happened = []

    class Observing(OpenAIMeter):
        def skim_client(self, read: bytes, span: Span) -> bool:
            return False

        def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
            happened.append(("observed", id_of(frame)))
            return NO_RESULTS

    connection: Any = NotingConnection(happened)
    context, meter = BillingContext("a", "s", "openai"), Observing(model="m")
    sink = UpstreamForwarder(
        Recorder(context, meter, NotingSender(happened), Purse()),
        connection,
        gate=None,
        on_model_refused=lambda _: None,
        on_handle_named=lambda _: None,
        on_close=lambda _: None,
    )
    sink.frames_received([done("one")])
    assert happened == [("observed", "one"), ("written", "one")]
    read, spans = in_one_read(done("two"))
    sink.messages_received(read, spans)
    assert happened[2:] == [("observed", "two"), ("written", read)]


def test_without_a_client_a_response_is_metered_and_ends_there() -> None:
    """The response in flight when the client left is charged."""
    happened: Happened = []
    sink = MeterOnly(
        recorder(happened), on_begun=lambda: None, on_idle=lambda: None, on_close=lambda _: None
    )
    sink.frames_received([done("one")])
    assert happened == [("noted", "one")]
