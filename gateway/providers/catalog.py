"""The kinds of providers that there are: their settings, and their adapters. Pure.

The first provider of each kind is called by its kind, and has settings of its own; the models file
adds others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.providers.base import Provider
from gateway.providers.gemini import Gemini
from gateway.providers.openai import XAI, Azure, OpenAI
from shared.provider_kinds import kind_of


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider for which a key is set. ``repr`` leaves the key out, so no log can show it."""

    name: str
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A kind: the names of its first provider's two settings, its adapter, and its default model.

    ``default_model`` serves a translated session that names no model of this provider; empty where
    names are the operator's (Azure's deployments).
    """

    kind: str
    key_setting: str
    url_setting: str
    adapter: type[OpenAI | XAI | Azure | Gemini]
    default_model: str


CATALOG: Final = (
    CatalogEntry("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", OpenAI, "gpt-realtime"),
    CatalogEntry("azure", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", Azure, ""),
    CatalogEntry("xai", "XAI_API_KEY", "XAI_BASE_URL", XAI, "grok-voice-latest"),
    CatalogEntry(
        "gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", Gemini, "gemini-3.1-flash-live-preview"
    ),
)
DEFAULT_MODELS: Final = {entry.kind: entry.default_model for entry in CATALOG}
PROVIDER_NAMES: Final = frozenset(entry.kind for entry in CATALOG)


# Kinds of providers by the beginnings of their models' names.
_KIND_BY_MODEL: Final = (("grok-", "xai"), ("gemini-", "gemini"), ("gpt-", "openai"))


def owner_of(model: str) -> str:
    """The kind of provider that a model's name tells; empty where it tells none."""
    return next((kind for prefix, kind in _KIND_BY_MODEL if model.startswith(prefix)), "")


def default_model(provider: str, own: Mapping[str, str]) -> str:
    """The model of ``provider`` where none is named, by what an operator says in ``own`` of it or
    of its kind; empty where there is none.
    """
    kind = kind_of(provider)
    return own.get(provider) or own.get(kind) or DEFAULT_MODELS.get(kind, "")


def open_providers(configs: Iterable[ProviderConfig]) -> Mapping[str, Provider]:
    """The adapters by name."""
    adapter_by_kind = {entry.kind: entry.adapter for entry in CATALOG}
    return {
        config.name: adapter_by_kind[kind_of(config.name)](
            name=config.name, base_url=config.base_url, api_key=config.api_key
        )
        for config in configs
    }
