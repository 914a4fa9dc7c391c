"""Tools and the schemas of their parameters, from OpenAI's form to Gemini's and back. Pure.

OpenAI takes JSON Schema; Gemini's ``parameters`` take a subset of OpenAPI 3.0 with types in capital
letters. Gemini has ``parametersJsonSchema``, too, but Live ignores it: a function declared so is
called with no arguments (googleapis/python-genai#1147, livekit/agents#3135). So a schema always
becomes ``parameters``. Gemini refuses a whole setup for one keyword that it does not know, or that
stands where it does not belong; so what its subset has no word for is said otherwise, or left out:

* ``$ref`` is replaced by what it refers to, once where that refers to itself;
* ``const`` is an ``enum`` of one, ``oneOf`` and a list of types are ``anyOf``, ``allOf`` is merged,
  and ``null`` among types, choices and values is ``nullable``;
* ``anyOf`` stands alone (Vertex AI: "it must be the only field set"): what stands beside it goes
  into each choice; what has properties or items of its own keeps these, without choices;
* an ``enum`` of other values than texts, and a ``format`` that some versions refuse, are in the
  description;
* each schema has a type, the one that its keywords or values have, else a text; an array has items;
* ``required`` names properties that there are;
* other keywords (``additionalProperties``, ``$schema``, ``not``) are dropped.

Only a keyword is translated, never the name of a property: one called ``type`` stays what it is.
``tool_choice`` has no counterpart: the setup of Live has no ``toolConfig``
(googleapis/python-genai#558).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import json

Schema = dict[str, Any]

# Of larger declarations the rest is a text without a schema: references to references multiply.
SCHEMAS_MAX: Final = 4_096
DEPTH_MAX: Final = 32
_INT64_MAX: Final = 2**63 - 1


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_length(value: object) -> bool:
    return type(value) is int and 0 <= value <= _INT64_MAX


def _is_anything(_: object) -> bool:
    return True


# The subset's keywords that are plain values and mean what they mean in JSON Schema: the type that
# one belongs to ("" for every one), and what it may be.
_KEYWORDS: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "title": ("", _is_text),
    "description": ("", _is_text),
    "default": ("", _is_anything),
    "minimum": ("number", _is_number),
    "maximum": ("number", _is_number),
    "pattern": ("string", _is_text),
    "minLength": ("string", _is_length),
    "maxLength": ("string", _is_length),
    "minItems": ("array", _is_length),
    "maxItems": ("array", _is_length),
    "minProperties": ("object", _is_length),
    "maxProperties": ("object", _is_length),
}
# Those that each version documents; once it refused others of texts.
_FORMATS: Final[Mapping[str, frozenset[str]]] = {
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
    "string": frozenset({"date-time"}),
}
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_TYPE_OF_VALUE: Final[Mapping[type, str]] = {
    str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object",
}  # fmt: skip
_CHOICES: Final = ("anyOf", "oneOf")


def to_gemini_tools(tools: object) -> tuple[list[dict[str, Any]], list[str]]:
    """``session.tools`` as ``setup.tools``, and the names of what is ignored (``tools.mcp``)."""
    declarations: list[dict[str, Any]] = []
    ignored: list[str] = []
    for tool in _objects(tools):
        if tool.get("type", "function") == "function" and isinstance(tool.get("name"), str):
            declarations.append(_declaration(tool))
        else:
            ignored.append(f"tools.{_word(tool.get('type'))}")
    return ([{"functionDeclarations": declarations}] if declarations else []), ignored


def to_openai_tools(tools: object) -> tuple[list[dict[str, Any]], list[str]]:
    """``setup.tools`` as ``session.tools``, and the names of what is ignored
    (``tools.googleSearch``).
    """
    functions: list[dict[str, Any]] = []
    ignored: list[str] = []
    for tool in _objects(tools):
        for name, value in tool.items():
            if _camel(name) == "functionDeclarations":
                declarations = [_camel_keys(found) for found in _objects(value)]
                functions += [_function(d) for d in declarations if isinstance(d.get("name"), str)]
            else:
                ignored.append(f"tools.{_word(_camel(name))}")
    return functions, ignored


def to_gemini_schema(schema: object) -> Schema:
    """A JSON Schema as a ``Schema`` of Gemini."""
    return _ToGemini(schema).convert(schema, (), 0)


def to_json_schema(schema: object) -> Schema:
    """A ``Schema`` of Gemini, in either spelling, as a JSON Schema."""
    return _json_schema(schema, 0)


def _declaration(tool: dict[str, Any]) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool["name"]}
    if isinstance(tool.get("description"), str):
        declaration["description"] = tool["description"]
    found = tool.get("parameters")
    parameters = to_gemini_schema(found if isinstance(found, dict) else {"type": "object"})
    # A function without parameters has none to declare; no properties were refused for long.
    if parameters.get("properties"):
        declaration["parameters"] = parameters
    return declaration


def _function(declaration: dict[str, Any]) -> dict[str, Any]:
    function: dict[str, Any] = {"type": "function", "name": declaration["name"]}
    if isinstance(declaration.get("description"), str):
        function["description"] = declaration["description"]
    if isinstance(declaration.get("parametersJsonSchema"), dict):
        function["parameters"] = declaration["parametersJsonSchema"]
    elif isinstance(declaration.get("parameters"), dict):
        function["parameters"] = to_json_schema(declaration["parameters"])
    else:
        function["parameters"] = {"type": "object", "properties": {}}
    return function


class _ToGemini:
    """The conversion of one JSON Schema, which knows where its references lead."""

    __slots__ = ("_left", "_root")

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = SCHEMAS_MAX

    def convert(self, schema: object, within: tuple[str, ...], depth: int) -> Schema:
        """``within`` are the references that are being replaced around this schema."""
        self._left -= 1
        if not isinstance(schema, dict) or self._left < 0 or depth > DEPTH_MAX:
            return {"type": "STRING"}
        merged, within = self._merged(schema, within, depth)
        choices, is_nullable = _choices(merged)
        if not choices:
            made = [self._typed(merged, within, depth)]
        else:
            made = []
            for choice in choices:
                converted = self.convert(choice, within, depth + 1)
                made += converted.get("anyOf", [converted])
        if is_nullable:
            for branch in made:
                branch["nullable"] = True
        return made[0] if len(made) == 1 else {"anyOf": made}

    def _typed(self, schema: Schema, within: tuple[str, ...], depth: int) -> Schema:
        """A schema of one type."""
        kind = _kind_of(schema)
        made: Schema = {"type": kind.upper()}
        for name, (owner, is_fit) in _KEYWORDS.items():
            if name in schema and owner in ("", _family(kind)) and is_fit(schema[name]):
                made[name] = schema[name]
        _set_values(made, schema, kind)
        if kind == "object" and isinstance(schema.get("properties"), dict):
            made["properties"] = {
                name: self.convert(value, within, depth + 1)
                for name, value in schema["properties"].items()
            }
            names = _texts(schema.get("required"))
            required = [name for name in names if name in made["properties"]]
            if required:
                made["required"] = required
        if kind == "array":
            made["items"] = self.convert(schema.get("items"), within, depth + 1)
        return made

    def _merged(
        self, schema: Schema, within: tuple[str, ...], depth: int
    ) -> tuple[Schema, tuple[str, ...]]:
        """``schema`` with what its ``$ref`` and ``allOf`` add to it."""
        merged = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
        parts = list(_objects(schema.get("allOf")))
        reference = schema.get("$ref")
        if isinstance(reference, str):
            found = self._resolved(reference)
            if reference in within:
                found = {name: found[name] for name in ("type", "description") if name in found}
            within = (*within, reference)
            parts.append(found)
        for part in parts:
            self._left -= 1
            if self._left < 0 or depth > DEPTH_MAX:
                break
            found, within = self._merged(part, within, depth + 1)
            merged = _union(merged, found)
        return merged, within

    def _resolved(self, reference: str) -> Schema:
        """What a reference within the document leads to, e.g. ``#/$defs/Name``; {} if nowhere."""
        at: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if name:
                at = at.get(name) if isinstance(at, dict) else None
        return at if isinstance(at, dict) else {}


def _choices(schema: Schema) -> tuple[list[Schema], bool]:
    """The schemas of which one holds, without null, and whether null was among them.

    None where ``schema`` is one by itself; then at most one type is left in it.
    """
    kinds = _kinds(schema)
    given = [choice for name in _CHOICES for choice in _objects(schema.get(name))]
    others = [choice for choice in given if choice.get("type") != "null"]
    is_nullable = "null" in kinds or len(others) < len(given) or _allows_null(schema)
    own = {name: value for name, value in schema.items() if name not in _CHOICES}
    if others and not ("properties" in schema or "items" in schema):
        return [_union(choice, own) for choice in others], is_nullable
    named = [kind for kind in kinds if kind in _TYPES]
    if len(named) > 1:
        return [{**own, "type": kind} for kind in named], is_nullable
    return [], is_nullable


def _allows_null(schema: Schema) -> bool:
    values = schema.get("enum")
    return isinstance(values, list) and None in values


def _kinds(schema: Schema) -> list[str]:
    found = schema.get("type")
    return [found] if isinstance(found, str) else _texts(found)


def _kind_of(schema: Schema) -> str:
    """The type of a schema that has no choices; by its keywords or values where it names none."""
    named = [kind for kind in _kinds(schema) if kind in _TYPES]
    if named:
        return named[0]
    if isinstance(schema.get("properties"), dict) or "additionalProperties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    kinds = {_TYPE_OF_VALUE.get(type(value), "string") for value in _values(schema)}
    if kinds == {"integer", "number"}:
        return "number"
    return kinds.pop() if len(kinds) == 1 else "string"


def _family(kind: str) -> str:
    return "number" if kind == "integer" else kind


def _values(schema: Schema) -> list[Any]:
    """The values that are allowed, without null; [] where all are."""
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    return [v for v in found if v is not None] if isinstance(found, list) else []


def _set_values(made: Schema, schema: Schema, kind: str) -> None:
    """``enum`` and ``format``, or a word about them in the description."""
    values = _values(schema)
    if values and kind == "string" and all(isinstance(value, str) and value for value in values):
        made["enum"] = values
    elif values:
        _remark(made, "one of " + ", ".join(json.encode(value).decode() for value in values))
    form = schema.get("format")
    if isinstance(form, str) and form in _FORMATS.get(kind, ()):
        made["format"] = form
    elif isinstance(form, str) and form != "enum":
        _remark(made, f"format: {form}")


def _remark(made: Schema, remark: str) -> None:
    text = made.get("description")
    made["description"] = f"{text} ({remark})" if text else remark


def _union(first: Schema, second: Schema) -> Schema:
    """Both: the properties and the required names of both; of anything else what is first said."""
    merged = {**second, **first}
    if isinstance(first.get("properties"), dict) and isinstance(second.get("properties"), dict):
        merged["properties"] = {**second["properties"], **first["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*_texts(first["required"]), *_texts(second["required"])]
    return merged


def _json_schema(schema: object, depth: int) -> Schema:
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return {}
    found = _camel_keys(schema)
    made: Schema = {}
    for name, (_, is_fit) in _KEYWORDS.items():
        value = _integer(found.get(name)) if is_fit is _is_length else found.get(name)
        if name in found and is_fit(value):
            made[name] = value
    kind = found.get("type")
    if isinstance(kind, str) and kind.lower() in _TYPES | {"null"}:
        made["type"] = kind.lower()
    if isinstance(found.get("format"), str) and found["format"] != "enum":
        made["format"] = found["format"]
    for name in ("enum", "required"):
        if isinstance(found.get(name), list):
            made[name] = _texts(found[name])
    _set_inner(made, found, depth)
    return _with_null(made) if found.get("nullable") is True else made


def _set_inner(made: Schema, found: Schema, depth: int) -> None:
    """The schemas within one."""
    if isinstance(found.get("properties"), dict):
        made["properties"] = {
            name: _json_schema(value, depth + 1) for name, value in found["properties"].items()
        }
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), dict):
            made[name] = _json_schema(found[name], depth + 1)
    if isinstance(found.get("additionalProperties"), bool):
        made["additionalProperties"] = found["additionalProperties"]
    if isinstance(found.get("anyOf"), list):
        made["anyOf"] = [_json_schema(choice, depth + 1) for choice in _objects(found["anyOf"])]


def _with_null(schema: Schema) -> Schema:
    """``schema``, or null."""
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "anyOf" in schema:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema


def _integer(value: object) -> object:
    """A 64-bit integer, which protobuf's JSON writes as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return value


def _objects(values: object) -> Iterable[dict[str, Any]]:
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def _texts(values: object) -> list[str]:
    """The texts among ``values``, each once."""
    found = [v for v in values if isinstance(v, str)] if isinstance(values, list) else []
    return list(dict.fromkeys(found))


def _word(value: object) -> str:
    """A peer's word as it may stand in a log."""
    text = value[:64] if isinstance(value, str) else ""
    return text if text.isascii() and text.replace("_", "").isalnum() else "unknown"


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other[:1].upper() + other[1:] for other in others)


def _camel_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_camel(name): value for name, value in values.items()}
