"""Metered before forwarded: in which order things happen to a frame of the provider."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.frames import Frame
from gateway.metering.batching import BillingContext
from gateway.metering.openai.meter import OpenAIMeter
from gateway.metering.usage_recorder import Recorder
from gateway.relay.sinks import DownstreamForwarder, MeterOnly, UpstreamForwarder
from shared.usage import UsageBatch
from tests.support.noting_sender import Happened, NotingSender


class NotingConnection:
    """A connection that writes down which responses it is given, or fails to write them."""

    def __init__(self, happened: Happened, *, is_broken: bool = False) -> None:
        self._happened = happened
        self._is_broken = is_broken

    def write(self, frames: Sequence[Frame]) -> None:
        """See ``Connection``."""
        self._happened.append(("written", *(id_of(frame) for frame in frames)))
        if self._is_broken:
            raise ConnectionResetError


def done(name: str) -> Frame:
    """The response.done of a response."""
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    response = {"id": name, "status": "completed", "usage": usage}
    event = json.dumps({"type": "response.done", "response": response}).encode()
    return Frame(1, True, 2, b"\x81\x00" + event)


def id_of(frame: Frame) -> str:
    """Which response a frame is about."""
    return str(json.loads(frame.raw[2:])["response"]["id"])


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

    class Observing(Recorder):
        def observe_client(self, frames: Sequence[Frame]) -> None:
            happened.append(("observed", *(id_of(frame) for frame in frames)))

    connection: Any = NotingConnection(happened)
    sender = NotingSender(happened)
    spy = Observing(BillingContext("a", "s", "openai"), OpenAIMeter(model="m"), sender, Purse())
    sink = UpstreamForwarder(
        spy,
        connection,
        gate=None,
        on_model_refused=lambda _: None,
        on_handle_named=lambda _: None,
        on_close=lambda _: None,
    )
    sink.frames_received([done("one")])
    assert happened == [("observed", "one"), ("written", "one")]


def test_without_a_client_a_response_is_metered_and_ends_there() -> None:
    """The response in flight when the client left is charged."""
    happened: Happened = []
    sink = MeterOnly(
        recorder(happened), on_begun=lambda: None, on_idle=lambda: None, on_close=lambda _: None
    )
    sink.frames_received([done("one")])
    assert happened == [("noted", "one")]
