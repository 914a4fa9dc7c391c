"""``translate.schemas``: what both sides can say survives, and nothing raises."""

from typing import Any

from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gateway.translate.schemas import (
    to_gemini_schema,
    to_gemini_tools,
    to_json_schema,
    to_openai_tools,
)

# Names that are keywords, too.
NAMES = st.sampled_from(
    ["type", "format", "properties", "items", "required", "enum", "anyOf", "any_of", "nullable",
     "$ref", "description", "city", "größe"]
)  # fmt: skip
COUNTS = st.integers(0, 99)


def fields(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keywords that any schema may have, and some of ``optional``."""
    return st.fixed_dictionaries(
        {},
        optional={"description": st.text(min_size=1, max_size=9), "title": st.text(), **optional},
    )


def of_type(kind: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of one type, or of that type or null."""
    return st.builds(
        lambda made, is_nullable: {**made, "type": [kind, "null"] if is_nullable else kind},
        fields(**optional),
        st.booleans(),
    )


LEAVES = st.one_of(
    of_type("string", minLength=COUNTS, maxLength=COUNTS, pattern=st.text(max_size=5)),
    of_type("string", format=st.just("date-time"), default=st.text(max_size=3)),
    fields(enum=st.lists(st.text(min_size=1), min_size=1, unique=True)).map(
        lambda made: {**made, "type": "string"}
    ),
    of_type("number", minimum=st.floats(-9, 9), maximum=COUNTS, format=st.just("double")),
    of_type("integer", minimum=COUNTS, format=st.sampled_from(["int32", "int64"])),
    of_type("boolean", default=st.booleans()),
)


def objects(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of ``children``, some of which are required."""
    return st.builds(
        lambda made, properties, count: {
            **made,
            "properties": properties,
            **({"required": list(properties)[:count]} if properties and count else {}),
        },
        of_type("object", maxProperties=COUNTS),
        st.dictionaries(NAMES, children, max_size=4),
        st.integers(0, 4),
    )


def containers(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Arrays, objects and choices."""
    arrays = st.builds(
        lambda made, items: {**made, "items": items}, of_type("array", minItems=COUNTS), children
    )
    choices = st.lists(LEAVES, min_size=2, max_size=3).map(lambda found: {"anyOf": found})
    return st.one_of(arrays, objects(children), choices)


SCHEMAS = objects(st.recursive(LEAVES, containers, max_leaves=8))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            NAMES | st.sampled_from(["allOf", "oneOf", "const", "name", "parameters", "minLength"]),
            inner
            | st.sampled_from(["object", "array", "#", "#/properties/type", ["null", "string"]]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(schema=SCHEMAS)
def test_what_both_can_say_comes_back(schema: dict[str, Any]) -> None:
    """A schema that the subset can express is the same one after there and back."""
    made = to_gemini_schema(schema)
    types.Schema.model_validate(made)
    assert to_json_schema(made) == schema


@given(schema=SCHEMAS)
def test_a_second_translation_changes_nothing(schema: dict[str, Any]) -> None:
    """What came back is translated to what was sent."""
    made = to_gemini_schema(schema)
    assert to_gemini_schema(to_json_schema(made)) == made


@given(value=JSON)
def test_any_value_gives_a_schema_that_the_sdk_takes(value: object) -> None:
    """Whatever a client calls a schema becomes one that Google's SDK knows, as JSON."""
    made = to_gemini_schema(value)
    types.Schema.model_validate(made)
    json.encode(made)
    json.encode(to_json_schema(value))
    if isinstance(value, dict) and isinstance(value.get("properties"), dict):
        assert made.get("properties", {}).keys() <= value["properties"].keys()


@given(value=JSON, name=st.text(min_size=1, max_size=5))
def test_any_value_may_stand_among_the_tools(value: object, name: str) -> None:
    """Tools of any kind are translated or named as ignored, and raise nothing."""
    tool = {"type": "function", "name": name, "parameters": value, "description": value}
    made, _ = to_gemini_tools([tool, value])
    types.Tool.model_validate(made[0])
    declaration = {"name": name, "parameters": value, "description": value}
    back, _ = to_openai_tools([{"functionDeclarations": [declaration, value]}, value])
    assert back[0]["name"] == name
