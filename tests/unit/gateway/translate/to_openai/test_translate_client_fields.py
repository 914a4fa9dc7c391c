"""How a Gemini client's messages are read, and what is wrong with them."""

import pytest
from msgspec import json

from gateway.translate.to_openai.client_fields import (
    DEPTH_MAX,
    REASON_BYTES_MAX,
    ClientFaultError,
    Fields,
    read,
    short,
)


def nested(levels: int) -> bytes:
    """A client's content that is so deep."""
    return b'{"clientContent":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "Invalid JSON payload received."),
        (b'{"setup"', "Invalid JSON payload received."),
        (b'{"setup":{"model":"\\ud800"}}', "Invalid JSON payload received."),
        (b"[1]", "Invalid JSON payload received: expected an object."),
        (b"{}", "Found 0 messages in one, expected one."),
        (b'{"setup":{},"clientContent":{}}', "Found 2 messages in one, expected one."),
        (b'{"response":{}}', "Unknown name 'response'."),
        (b'{"setup":[]}', "setup: found a list, expected an object."),
        (nested(DEPTH_MAX + 1), f"Expected at most {DEPTH_MAX} levels."),
        (nested(5_000), ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_message_that_is_none(message: bytes, reason: str) -> None:
    """It is refused, in a word that a close frame can hold."""
    with pytest.raises(ClientFaultError, match="Request contains an invalid argument") as fault:
        read(message)
    assert reason in str(fault.value)
    assert fault.value.close.code == 1007
    assert len(fault.value.close.reason.encode()) <= REASON_BYTES_MAX


def test_names_in_both_spellings() -> None:
    """snake_case is camelCase at every depth, but for the application's own names."""
    message = {
        "tool_response": {
            "function_responses": [{"id": "1", "response": {"my_key": {"other_key": 1}}}],
            "generation_config": {"top_p": 1},
        }
    }
    kind, body = read(json.encode(message))
    assert kind == "toolResponse"
    (answer,) = body.objects("functionResponses")
    assert answer.mapping("response") == {"my_key": {"other_key": 1}}
    assert body.inner("generationConfig").has("topP")


def test_what_nobody_read_is_named() -> None:
    """Paths have no indices, so that they can be counted; null is as if it were absent."""
    fields = Fields.of(
        {"a": {"b": 1, "c": 2}, "d": [{"e": 1}, {"e": 2, "f": 3}], "g": None, "h": 1}, "setup"
    )
    fields.inner("a").value("b")
    for part in fields.objects("d"):
        part.value("e")
    assert sorted(fields.unread()) == ["setup.a.c", "setup.d.f", "setup.h"]


@pytest.mark.parametrize(
    ("read_field", "value", "reason"),
    [
        (lambda f: f.text("x"), 1, "setup.x: found 1, expected a string."),
        (lambda f: f.flag("x"), "yes", "setup.x: found 'yes', expected a boolean."),
        (lambda f: f.integer("x", 1, 9), 10, "setup.x: found 10, expected an integer from 1 to 9."),
        (lambda f: f.integer("x", 1, 9), True, "found True, expected an integer"),
        (lambda f: f.integer("x", 1, 9), 1.5, "found 1.5, expected an integer"),
        (lambda f: f.integer("x", 1, 9), "1e9", "found '1e9', expected an integer"),
        (lambda f: f.inner("x"), "s" * 99, "setup.x: found a str, expected an object."),
        (lambda f: f.mapping("x"), [], "setup.x: found a list, expected an object."),
        (lambda f: f.objects("x"), 3, "setup.x: found 3, expected a list."),
        (lambda f: f.objects("x"), [3], "setup.x[0]: found 3, expected an object."),
    ],
)
def test_a_field_of_the_wrong_type(read_field: object, value: object, reason: str) -> None:
    """The fault says where it stands, what was found, and what was expected."""
    assert callable(read_field)
    with pytest.raises(ClientFaultError) as fault:
        read_field(Fields.of({"x": value}, "setup"))
    assert reason in str(fault.value)


@pytest.mark.parametrize("value", [7, "7", 7.0])
def test_an_integer_in_the_spellings_of_protobuf(value: object) -> None:
    """64 bits are written as text, and some write every number with a point."""
    assert Fields.of({"x": value}, "setup").integer("x", 1, 9) == 7


def test_a_reason_is_cut_between_characters() -> None:
    """A close's reason is UTF-8 of at most 123 bytes."""
    assert short("ä" * 100) == "ä" * 61
    assert short("\ud800") == "?"
