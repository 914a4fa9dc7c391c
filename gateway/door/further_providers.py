"""The providers beside the first of each kind: ``[providers.NAME]`` of the models file. Pure.

    [providers.azure-eu]                    # the name: its kind, a hyphen, and the operator's own
    base_url = "https://our-eu.openai.azure.com"  # absent: that of the kind's first
    api_key_env = "AZURE_EU_API_KEY"        # the variable with its key, or with _FILE appended

Keys stay out of the file, and out of every message. ``config`` reads the variables.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.provider_kinds import KINDS, NAME_CHARS_MAX, is_further, kind_of
from shared.provider_reports import PROVIDERS_MAX

FURTHER_MAX: Final = PROVIDERS_MAX - len(KINDS)
_KEYS: Final = ("kind", "base_url", "api_key_env")
# Upper case alone: a key that was pasted here by mistake is no such name, and is not repeated.
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_VARIABLE_HINT: Final = "expected the name of an environment variable in upper case"


@dataclass(frozen=True, slots=True)
class FurtherProvider:
    """An entry. ``base_url`` is as it was written; empty: that of the first of its kind."""

    name: str
    base_url: str
    key_setting: str


def further_providers(found: object, problems: list[str]) -> tuple[FurtherProvider, ...]:
    """The entries of the table; what is wrong with it is added to ``problems``."""
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        problems.append("providers: expected tables, [providers.azure-eu] and the like")
        return ()
    if len(found) > FURTHER_MAX:
        problems.append(f"providers: found {len(found)}, expected at most {FURTHER_MAX}")
    wrong = [
        f"providers.{name}: {problem}"
        for name, entry in found.items()
        for problem in (*_name_problems(name, entry.get("kind")), *_entry_problems(entry))
    ]
    if wrong:
        problems += wrong
        return ()
    return tuple(
        FurtherProvider(name, entry.get("base_url", ""), entry["api_key_env"])
        for name, entry in found.items()
    )


def _name_problems(name: str, kind: object) -> Iterator[str]:
    """``kind`` may be said beside the name, which has it already."""
    kinds = ", ".join(KINDS)
    if name in KINDS:
        yield f"{name} has its own settings; expected another name for this one, like {name}-2"
    elif kind is not None and kind not in KINDS:
        yield f"kind: found {kind!r}, expected one of {kinds}"
    elif kind is not None and kind_of(name) != kind:
        yield f"expected a name that begins with its kind, like {kind}-eu"
    elif not is_further(name):
        yield (
            f"expected a name of at most {NAME_CHARS_MAX} small letters, digits and hyphens that"
            f" begins with its kind ({kinds}), like azure-eu"
        )


def _entry_problems(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in entry.keys() - set(_KEYS):
        if key == "api_key":
            yield f"found api_key; no key belongs into this file: {_VARIABLE_HINT}, as api_key_env"
        else:
            yield f"unknown key {key!r}, expected {', '.join(_KEYS)}"
    if not isinstance(entry.get("base_url", ""), str):
        yield f"base_url: found {entry['base_url']!r}, expected text"
    variable = entry.get("api_key_env")
    if not isinstance(variable, str) or _VARIABLE.fullmatch(variable) is None:
        yield f"api_key_env: {_VARIABLE_HINT}, like AZURE_EU_API_KEY"
