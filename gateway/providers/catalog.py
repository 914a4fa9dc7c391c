"""The providers that there are: their settings, and their adapters. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.providers.base import Provider
from gateway.providers.gemini import Gemini
from gateway.providers.openai import XAI, Azure, OpenAI


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """A provider for which a key is set. ``repr`` leaves the key out, so no log can show it."""

    name: str
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A provider: its name, the names of its two settings, its adapter, and its default model.

    ``default_model`` serves a translated session that names no model of this provider; empty where
    names are the operator's (Azure's deployments).
    """

    name: str
    key_setting: str
    url_setting: str
    adapter: type[OpenAI | XAI | Azure | Gemini]
    default_model: str


_GEMINI_DEFAULT: Final = "gemini-3.1-flash-live-preview"
CATALOG: Final = (
    CatalogEntry("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", OpenAI, "gpt-realtime"),
    CatalogEntry("azure", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", Azure, ""),
    CatalogEntry("xai", "XAI_API_KEY", "XAI_BASE_URL", XAI, "grok-voice-latest"),
    CatalogEntry(
        "gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", Gemini, "gemini-3.1-flash-live-preview"
    ),
)
DEFAULT_MODELS: Final = {entry.name: entry.default_model for entry in CATALOG}
PROVIDER_NAMES: Final = frozenset(entry.name for entry in CATALOG)


def open_providers(configs: Iterable[ProviderConfig]) -> Mapping[str, Provider]:
    """The adapters by name."""
    adapter_by_name = {entry.name: entry.adapter for entry in CATALOG}
    return {
        config.name: adapter_by_name[config.name](base_url=config.base_url, api_key=config.api_key)
        for config in configs
    }
