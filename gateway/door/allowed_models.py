"""Which models there are and who may use them: the table in ``GATEWAY_MODELS_FILE``. Pure.

A TOML file::

    [models."acme-voice"]        # what clients ask for
    provider = "xai"             # where it is
    model = "grok-voice-latest"  # what it is called there; the same when absent

    [accounts."acct_1"]          # or "*": every account that has no entry of its own
    models = ["gpt-realtime*", "acme-voice"]

    [[lifetimes]]                # sessions that last for another time than providers say
    provider = "azure"
    model = "gpt-realtime*"      # a pattern of the provider's names; every model when absent
    minutes = 30

Everything is optional. An account without an entry may use every model. The first lifetime that
matches counts; where none does, ``gateway.providers.lifetimes`` has those that providers document.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from gateway.providers.lifetimes import MINUTES_MAX, Lifetime
from shared.usage import ID_CHARS_MAX

EVERYBODY: Final = "*"
_TABLES: Final = ("models", "accounts", "lifetimes")


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """Where a model is, and what it is called there."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The table. ``patterns_by_account`` holds shell patterns (``fnmatch``)."""

    route_by_model: Mapping[str, ModelRoute] = field(default_factory=dict)
    patterns_by_account: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lifetimes: tuple[Lifetime, ...] = ()

    def allows(self, account_id: str, model: str) -> bool:
        """Whether the account may use ``model``, by the name that the client gives it."""
        patterns = self.patterns_by_account.get(
            account_id, self.patterns_by_account.get(EVERYBODY, ("*",))
        )
        return any(fnmatchcase(model, pattern) for pattern in patterns)

    def client_models(self, model: str, *, provider: str) -> list[str]:
        """The names under which clients may ask for what ``provider`` calls ``model``."""
        known = ModelRoute(provider, model)
        return [name for name, route in self.route_by_model.items() if route == known]

    def provider_model(self, model: str, *, provider: str) -> str:
        """The name at ``provider`` of the model that a client calls ``model``."""
        known = self.route_by_model.get(model)
        return known.model if known is not None and known.provider == provider else model


def read_table(text: str, *, providers: frozenset[str]) -> ModelTable:
    """Read the file's text. Raises ``ValueError`` that names every mistake."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"not TOML: {exc}") from None
    problems = [f"unknown table {name!r}" for name in found if name not in _TABLES]
    routes, patterns = {}, {}
    for name, entry in _entries(found, "models", problems):
        provider, model = entry.get("provider"), entry.get("model", name)
        if provider not in providers:
            expected = ", ".join(sorted(providers))
            problems.append(f"models.{name}: provider {provider!r}, expected one of {expected}")
        elif not isinstance(model, str) or not model or set(entry) - {"provider", "model"}:
            problems.append(f"models.{name}: expected provider and model, both text")
        else:
            routes[name] = ModelRoute(provider, model)
    for name, entry in _entries(found, "accounts", problems):
        match entry:
            case {"models": [*allowed]} if set(entry) == {"models"} and _are_texts(allowed):
                patterns[name] = tuple(allowed)
            case _:
                problems.append(f"accounts.{name}: expected models, a list of patterns")
    lifetimes = _lifetimes(found.get("lifetimes", []), providers, problems)
    if problems:
        raise ValueError("; ".join(problems))
    return ModelTable(routes, patterns, lifetimes)


def _lifetimes(
    found: object, providers: frozenset[str], problems: list[str]
) -> tuple[Lifetime, ...]:
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        problems.append("lifetimes: expected entries that begin with [[lifetimes]]")
        return ()
    for number, entry in enumerate(found, start=1):
        wrong = _lifetime_problems(entry, providers)
        problems += [f"lifetimes, entry {number}: {problem}" for problem in wrong]
    return tuple(
        Lifetime(entry.get("provider", ""), entry.get("model", "*"), entry.get("minutes", 0))
        for entry in found
    )


def _lifetime_problems(entry: Mapping[str, Any], providers: frozenset[str]) -> Iterator[str]:
    for name in entry.keys() - {"provider", "model", "minutes"}:
        yield f"unknown key {name!r}, expected provider, model and minutes"
    if entry.get("provider") not in providers:
        expected = ", ".join(sorted(providers))
        yield f"provider: found {entry.get('provider')!r}, expected one of {expected}"
    model, minutes = entry.get("model", "*"), entry.get("minutes")
    if not isinstance(model, str) or not 0 < len(model) <= ID_CHARS_MAX:
        yield f"model: found {model!r}, expected a pattern of 1 to {ID_CHARS_MAX} characters"
    if type(minutes) is not int or not 1 <= minutes <= MINUTES_MAX:
        yield f"minutes: found {minutes!r}, expected an integer from 1 to {MINUTES_MAX}"


def _entries(
    found: Mapping[str, Any], table: str, problems: list[str]
) -> list[tuple[str, dict[str, Any]]]:
    entries = found.get(table, {})
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        problems.append(f"{table}: expected tables")
        return []
    return list(entries.items())


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
