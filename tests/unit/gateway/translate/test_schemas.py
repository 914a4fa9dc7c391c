"""``translate.schemas``: tools and the schemas of their parameters."""

from typing import Any

import pytest
from google.genai import types

from gateway.translate.schemas import (
    SCHEMAS_MAX,
    to_gemini_schema,
    to_gemini_tools,
    to_json_schema,
    to_openai_tools,
)

BOOK = {
    "type": "function",
    "name": "book",
    "description": "Books a table.",
    "parameters": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["inside", "outside"]},
            "format": {"type": "object", "properties": {"properties": {"type": "integer"}}},
            "when": {"type": ["string", "null"], "format": "date-time"},
        },
        "required": ["type"],
        "additionalProperties": False,
    },
}


def test_a_tool_becomes_a_declaration_in_the_subset() -> None:
    """Types are in capitals, what Gemini refuses is gone, and properties keep their names."""
    tools, ignored = to_gemini_tools([BOOK, {"type": "mcp", "server_label": "x"}])
    types.Tool.model_validate(tools[0])
    assert ignored == ["tools.mcp"]
    assert tools[0]["functionDeclarations"][0]["parameters"] == {
        "type": "OBJECT",
        "required": ["type"],
        "properties": {
            "type": {"type": "STRING", "enum": ["inside", "outside"]},
            "format": {"type": "OBJECT", "properties": {"properties": {"type": "INTEGER"}}},
            "when": {"type": "STRING", "nullable": True, "format": "date-time"},
        },
    }


def test_a_declaration_becomes_a_tool() -> None:
    """Both spellings are read; types are lower-case and ``nullable`` is a type."""
    declaration = {
        "name": "book",
        "parameters": {
            "type": "OBJECT",
            "properties": {"type": {"type": "STRING", "nullable": True, "max_length": "5"}},
        },
    }
    tools, ignored = to_openai_tools(
        [{"function_declarations": [declaration]}, {"googleSearch": {}}]
    )
    assert ignored == ["tools.googleSearch"]
    assert tools[0]["parameters"] == {
        "type": "object",
        "properties": {"type": {"type": ["string", "null"], "maxLength": 5}},
    }


TEXT = {"type": "STRING"}
NODE = {
    "type": "object",
    "description": "A node.",
    "properties": {"next": {"$ref": "#/$defs/node"}, "value": {"type": "number"}},
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, TEXT),
        ({"properties": {}}, {"type": "OBJECT", "properties": {}}),
        ({"additionalProperties": {"type": "string"}}, {"type": "OBJECT"}),
        ({"items": {"type": "boolean"}}, {"type": "ARRAY", "items": {"type": "BOOLEAN"}}),
        ({"type": "array", "prefixItems": []}, {"type": "ARRAY", "items": TEXT}),
        ({"const": "a"}, {**TEXT, "enum": ["a"]}),
        ({"const": 3}, {"type": "INTEGER", "description": "one of 3"}),
        ({"enum": [1, 2.5]}, {"type": "NUMBER", "description": "one of 1, 2.5"}),
        ({"enum": ["a", None]}, {**TEXT, "enum": ["a"], "nullable": True}),
        ({"type": "integer", "enum": [1, 2], "description": "How many"},
         {"type": "INTEGER", "description": "How many (one of 1, 2)"}),
        ({"type": "string", "format": "uuid"}, {**TEXT, "description": "format: uuid"}),
        ({"type": "integer", "format": "int32", "minimum": 1, "minLength": 2},
         {"type": "INTEGER", "format": "int32", "minimum": 1}),
        ({"type": "string", "minLength": -1, "maxLength": 2.5, "pattern": 7, "title": None}, TEXT),
        ({"type": ["string", "null"]}, {**TEXT, "nullable": True}),
        ({"type": ["string", "integer"], "minLength": 2},
         {"anyOf": [{**TEXT, "minLength": 2}, {"type": "INTEGER"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Name", "default": None},
         {**TEXT, "description": "Name", "default": None, "nullable": True}),
        ({"oneOf": [{"type": "string"}, {"type": ["number", "null"]}], "description": "x"},
         {"anyOf": [{**TEXT, "description": "x"},
                    {"type": "NUMBER", "description": "x", "nullable": True}]}),
        ({"oneOf": [{"anyOf": [{"type": "string"}, {"type": "number"}]}, {"type": "boolean"}]},
         {"anyOf": [TEXT, {"type": "NUMBER"}, {"type": "BOOLEAN"}]}),
        ({"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
         {"type": "OBJECT", "properties": {"a": TEXT}}),
        ({"type": "object", "properties": {"a": {}}, "required": ["b", "a", 7, "a"]},
         {"type": "OBJECT", "properties": {"a": TEXT}, "required": ["a"]}),
        ({"allOf": [{"properties": {"a": {}}, "required": ["a"]},
                    {"properties": {"b": {}}, "required": ["b"]}]},
         {"type": "OBJECT", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]}),
        ({"$ref": "#/$defs/node", "description": "First.", "$defs": {"node": NODE}},
         {"type": "OBJECT", "description": "First.", "properties": {
             "next": {"type": "OBJECT", "description": "A node."}, "value": {"type": "NUMBER"}}}),
        ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "boolean"}}},
         {"type": "BOOLEAN"}),
        ({"$ref": "#/nowhere"}, TEXT),
        ({"$ref": "#"}, TEXT),
        ({"type": [{}, 7], "enum": 3, "properties": [], "items": 1},
         {"type": "ARRAY", "items": TEXT}),
        (None, TEXT),
    ],
)  # fmt: skip
def test_what_the_subset_lacks_is_said_otherwise(schema: object, expected: dict[str, Any]) -> None:
    """Each keyword of JSON Schema becomes what Gemini takes, and no other keyword is sent."""
    made = to_gemini_schema(schema)
    types.Schema.model_validate(made)
    assert made == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "string", "nullable": True, "enum": ["a"]},
         {"type": ["string", "null"], "enum": ["a", None]}),
        ({"any_of": [{"type": "STRING"}, {"type": "Integer"}], "nullable": True},
         {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
        ({"type": "ARRAY", "items": {"type": "NUMBER", "minimum": 0.5}, "minItems": "1"},
         {"type": "array", "items": {"type": "number", "minimum": 0.5}, "minItems": 1}),
        ({"type": "OBJECT", "properties": {"a": {"type": "TYPE_UNSPECIFIED"}}, "required": ["a"],
          "property_ordering": ["a"]},
         {"type": "object", "properties": {"a": {}}, "required": ["a"]}),
        ({"type": "OBJECT", "additional_properties": {"type": "STRING"}},
         {"type": "object", "additionalProperties": {"type": "string"}}),
        ({"type": "OBJECT", "additionalProperties": False},
         {"type": "object", "additionalProperties": False}),
        ({"type": {}, "items": [], "enum": "a", "maxLength": "9" * 30}, {}),
        (7, {}),
    ],
)  # fmt: skip
def test_geminis_schema_is_read_in_both_spellings(schema: object, expected: dict[str, Any]) -> None:
    """Types are lower-case in JSON Schema, and counts are numbers."""
    assert to_json_schema(schema) == expected


def test_a_function_without_parameters_declares_none() -> None:
    """Gemini refused objects without properties; JSON Schema has them."""
    tools, _ = to_gemini_tools(
        [
            {
                "type": "function",
                "name": "hang_up",
                "parameters": {"type": "object", "properties": {}},
            }
        ]
    )
    assert tools == [{"functionDeclarations": [{"name": "hang_up"}]}]
    assert to_openai_tools(tools)[0] == [
        {"type": "function", "name": "hang_up", "parameters": {"type": "object", "properties": {}}}
    ]


def test_a_json_schema_is_passed_on_to_openai() -> None:
    """``parametersJsonSchema`` is OpenAI's own form."""
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {}}}
    tools = [{"functionDeclarations": [{"name": "f", "parameters_json_schema": schema}]}]
    assert to_openai_tools(tools)[0][0]["parameters"] == schema


@pytest.mark.parametrize("tools", [None, 7, "x", [7], [{"name": 7}], {}])
def test_what_are_no_tools_are_none(tools: object) -> None:
    """Nothing raises on values of another kind."""
    assert to_gemini_tools(tools)[0] == []
    assert to_openai_tools(tools)[0] == []


def test_references_that_multiply_are_cut() -> None:
    """Twenty definitions, each of which names the next one twice, would be a million schemas."""
    definitions = {
        f"d{number}": {
            "properties": {side: {"$ref": f"#/$defs/d{number + 1}"} for side in ("a", "b")}
        }
        for number in range(20)
    }
    made = to_gemini_schema({"$ref": "#/$defs/d0", "$defs": definitions})
    assert str(made).count("STRING") <= SCHEMAS_MAX
