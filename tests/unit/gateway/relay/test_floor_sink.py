"""What of a client's messages waits until its session has the floor."""

import json
from collections.abc import Sequence

import pytest

from gateway.connections.close import CloseEvent
from gateway.connections.connection import Connection
from gateway.connections.receive_queue import Pause
from gateway.connections.sink import Discard, SequenceSink
from gateway.frames import Frame, Opcode, asked
from gateway.relay.floor_sink import FloorSink, configures


def message(text: str, opcode: int = Opcode.TEXT) -> Frame:
    """A client's message."""
    return asked(opcode, text.encode(), b"mask")


UPDATE = '{"type":"session.update","session":{}}'
MESSAGES = [
    (UPDATE, True),
    ('{"session":{"a":"response.create"},"type":"session.update"}', True),
    ('{"type":"transcription_session.update","session":{}}', True),
    ('{"setup":{"model":"models/m"}}', True),
    ('{"setup":{"model":"models/m"},"clientContent":{}}', False),
    ('{"type":"session.update","type":"response.create"}', False),
    ('{"type":"response.create"}', False),
    ('{"type":"input_audio_buffer.append","audio":"AAAA"}', False),
    ('{"realtimeInput":{}}', False),
    ("[]", False),
    ("{", False),
    (json.dumps({"type": "session.update", "x": "y" * 300_000}), False),
]


@pytest.mark.parametrize(("text", "expected"), MESSAGES)
def test_configurations_ask_for_no_answer(text: str, expected: bool) -> None:
    """Everything else may, also what two readers would understand in two ways."""
    for opcode in (Opcode.TEXT, Opcode.BINARY):
        assert configures(message(text, opcode)) is expected


def test_a_message_in_parts_waits() -> None:
    """It is not known what it is before its last part."""
    whole = message(UPDATE)
    assert not configures(Frame(Opcode.TEXT, False, whole.start, whole.raw))
    assert not configures(Frame(Opcode.CONTINUATION, True, whole.start, whole.raw))


class Client(Connection):
    """A client's connection without a peer."""

    def __init__(self) -> None:
        self.held: list[tuple[Pause, Sequence[Frame]]] = []

    def hold_back(self, reason: Pause, frames: Sequence[Frame]) -> None:
        """See ``Connection``."""
        self.held.append((reason, frames))


class Taking(SequenceSink):
    """The sink behind."""

    def __init__(self) -> None:
        self.taken: list[Frame] = []

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Keep them."""
        self.taken += frames

    def connection_closed(self, close: CloseEvent) -> None:
        """Nothing to do."""


def test_what_comes_behind_a_question_waits_with_it() -> None:
    """In order; what configures the session before it goes on."""
    sink, client, calls = Taking(), Client(), []
    update, question = message(UPDATE), message("{}")
    FloorSink(sink, client, lambda: calls.append(1)).frames_received([update, question, update])
    assert sink.taken == [update]
    assert client.held == [(Pause.FLOOR, [question, update])]
    assert calls == [1]
    FloorSink(Discard(), client, lambda: calls.append(1)).frames_received([update])
    assert (len(client.held), calls) == (1, [1])
