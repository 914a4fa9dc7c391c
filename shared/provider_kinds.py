"""The kinds of providers, and the kind that a provider is of. Pure.

A *kind* is whose protocol a provider speaks, and whose prices it has. A provider is one account at
such a company: its own region, key, quota and health. There may be several of a kind, and each is
called by its kind, or by its kind and more: ``azure``, ``azure-eu``, ``openai-2``. So a name alone
says the kind: on a usage row, in a rate card, and to an accountd that never saw the settings of a
gateway.
"""

import re
from collections.abc import Iterable
from typing import Final

KINDS: Final = ("azure", "gemini", "openai", "xai")
NAME_CHARS_MAX: Final = 32
_FURTHER: Final = re.compile(rf"(?:{'|'.join(KINDS)})(?:-[a-z0-9]+)+")


def kind_of(provider: str) -> str:
    """The kind of the provider with this name; a name of no kind is its own."""
    kind = provider.partition("-")[0]
    return kind if kind in KINDS else provider


def alike(provider: str, providers: Iterable[str]) -> list[str]:
    """The provider, and after it the others among ``providers`` that are of its kind."""
    kind = kind_of(provider)
    return [provider, *(name for name in providers if name != provider and kind_of(name) == kind)]


def is_further(name: str) -> bool:
    """Whether it can be the name of a provider beside the first of its kind."""
    return len(name) <= NAME_CHARS_MAX and _FURTHER.fullmatch(name) is not None
