"""Which models there are and who may use them: the table in ``GATEWAY_MODELS_FILE``. Pure.

A TOML file::

    [models."acme-voice"]        # what clients ask for
    provider = "xai"             # where it is
    model = "grok-voice-latest"  # what it is called there; the same when absent

    [models."acme-safe"]         # the first of these that serves (``gateway.providers.health``)
    providers = [{provider = "openai", model = "gpt-realtime"}, {provider = "gemini", model = "…"}]
                                 # or [models] acme-safe = ["openai", {provider = …}, …]

    [accounts."acct_1"]          # or "*": every account that has no entry of its own
    models = ["gpt-realtime*", "acme-voice"]

    [defaults]                   # models for clients that speak another provider's protocol
    gemini = "gemini-3.1-flash-live-preview"

    [voices.gemini]              # and the provider's voices by those that such clients name
    marin = "Kore"

    [health]                     # when new sessions go to the next provider of a model's list
    slow_ms = 500                # a dial that takes longer is slow
    failures = 3                 # so many slow or failed ones in a row
    slow_answer_ms = 10000       # an answer that begins later after the user's speech is slow

    [[lifetimes]]                # sessions that last for another time than providers say
    provider = "azure"
    model = "gpt-realtime*"      # a pattern of the provider's names; every model when absent
    minutes = 30

    [providers.azure-eu]         # another provider of a kind; see ``further_providers``
    base_url = "https://our-eu.openai.azure.com"
    api_key_env = "AZURE_EU_API_KEY"

Everything is optional. An account without an entry may use every model. The first lifetime that
matches counts; where none does, ``gateway.providers.lifetimes`` has those that providers document.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from gateway.door.further_providers import FurtherProvider, further_providers
from gateway.limits import DIAL_S
from gateway.providers.catalog import default_model, owner_of
from gateway.providers.health import USUAL, HealthRule
from gateway.providers.lifetimes import MINUTES_MAX, Lifetime
from gateway.translate.voices import BUILT_IN, VoiceTable
from shared.provider_kinds import kind_of
from shared.usage import ID_CHARS_MAX

EVERYBODY: Final = "*"
_EVERYTHING: Final = "*"  # the pattern of every model
# A dial that takes longer than ``DIAL_S`` fails.
_HEALTH_BOUNDS: Final = {
    "slow_ms": round(DIAL_S * 1000), "failures": 100, "slow_answer_ms": 60_000,
}  # fmt: skip
_TABLES: Final = (
    "models", "accounts", "defaults", "voices", "health", "lifetimes", "providers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """Where a model is, and what it is called there."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class ModelTable:
    """The table. ``patterns_by_account`` holds shell patterns (``fnmatch``). ``route_by_model`` has
    the first choice for each model, ``fallbacks_by_model`` the others in order. ``default_models``
    and ``voices`` are by provider.
    """

    route_by_model: Mapping[str, ModelRoute] = field(default_factory=dict)
    patterns_by_account: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lifetimes: tuple[Lifetime, ...] = ()
    default_models: Mapping[str, str] = field(default_factory=dict)
    voices: VoiceTable = BUILT_IN
    fallbacks_by_model: Mapping[str, tuple[ModelRoute, ...]] = field(default_factory=dict)
    health: HealthRule = USUAL
    further: tuple[FurtherProvider, ...] = ()

    def routes(self, model: str) -> tuple[ModelRoute, ...]:
        """Where the model is that a client calls ``model``, the first choice first; empty where the
        table does not say.
        """
        first = self.route_by_model.get(model)
        return () if first is None else (first, *self.fallbacks_by_model.get(model, ()))

    def route_at(self, model: str, provider: str) -> ModelRoute | None:
        """The one of these at ``provider``; None where it is not there."""
        return next((there for there in self.routes(model) if there.provider == provider), None)

    def chosen(
        self, model: str, providers: Collection[str], standing: Callable[[str], int]
    ) -> ModelRoute | None:
        """The one of these whose provider has the lowest ``standing``, of equal ones the first;
        only ``providers`` count where there is one of them.
        """
        routes = self.routes(model)
        there = [route for route in routes if route.provider in providers] or routes
        return min(there, key=lambda route: standing(route.provider), default=None)

    def needing(self, provider: str, providers: Collection[str]) -> tuple[list[str], bool]:
        """The models that ``provider`` alone of ``providers`` serves, and whether there are models
        that it serves beside another one.
        """
        alone, has_choice = [], False
        for model in self.route_by_model:
            there = {route.provider for route in self.routes(model)} & set(providers)
            if provider in there:
                has_choice = has_choice or len(there) > 1
                alone += [model] if len(there) == 1 else []
        return alone, has_choice

    def unserved(self, providers: Collection[str]) -> dict[str, list[str]]:
        """The providers of the table that are not among ``providers``, with their models."""
        found: dict[str, list[str]] = {}
        for model in self.route_by_model:
            for route in self.routes(model):
                if route.provider not in providers:
                    found.setdefault(route.provider, []).append(model)
        return found

    def alternatives(self) -> frozenset[str]:
        """The providers between which a model has a choice."""
        models = self.fallbacks_by_model
        return frozenset(route.provider for name in models for route in self.routes(name))

    def allows(self, account_id: str, model: str) -> bool:
        """Whether the account may use ``model``, by the name that the client gives it."""
        patterns = self.patterns_by_account.get(
            account_id, self.patterns_by_account.get(EVERYBODY, (_EVERYTHING,))
        )
        # Nearly every account may use every model, and each session asks several times.
        return _EVERYTHING in patterns or any(fnmatchcase(model, pattern) for pattern in patterns)

    def client_models(self, model: str, *, provider: str) -> list[str]:
        """The names under which clients may ask for what ``provider`` calls ``model``."""
        known = ModelRoute(provider, model)
        return [name for name in self.route_by_model if known in self.routes(name)]

    def provider_model(self, model: str, *, provider: str) -> str:
        """The name at ``provider`` of the model that a client calls ``model``."""
        known = self.route_at(model, provider)
        return model if known is None else known.model


def read_table(text: str, *, providers: frozenset[str]) -> ModelTable:
    """Read the file's text. ``providers`` are the names of the first of each kind; the file adds
    others. Raises ``ValueError`` that names every mistake.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"not TOML: {exc}") from None
    known = ", ".join(_TABLES)
    problems = [f"unknown table {n!r}, expected {known}" for n in found if n not in _TABLES]
    further = further_providers(found.get("providers", {}), problems)
    providers |= set(_names(found.get("providers")))
    defaults = _defaults(found.get("defaults", {}), providers, problems)
    routes = _routes(found, providers, defaults, problems)
    patterns = {}
    for name, entry in _entries(found, "accounts", problems):
        match entry:
            case {"models": [*allowed]} if set(entry) == {"models"} and _are_texts(allowed):
                patterns[name] = tuple(allowed)
            case _:
                problems.append(f"accounts.{name}: expected models, a list of patterns")
    lifetimes = _lifetimes(found.get("lifetimes", []), providers, problems)
    voices = dict(_entries(found, "voices", problems))
    problems += _voice_problems(voices, providers)
    health = _health(found.get("health", {}), problems)
    if problems:
        raise ValueError("; ".join(problems))
    return ModelTable(
        {name: there[0] for name, there in routes.items()},
        patterns,
        lifetimes,
        defaults,
        VoiceTable(voices),
        {name: there[1:] for name, there in routes.items() if len(there) > 1},
        health,
        further,
    )


def _routes(
    found: Mapping[str, Any],
    providers: frozenset[str],
    defaults: Mapping[str, str],
    problems: list[str],
) -> dict[str, tuple[ModelRoute, ...]]:
    """Where each model is, the first choice first; one place at least for each."""
    routes = {}
    for name, entry in _models(found, problems):
        mistakes: list[str] = []
        entries = _choices(entry, mistakes)
        for each in entries:
            mistakes += _route_problems(each, name, providers)
        if not mistakes:
            there = tuple(_route(name, each, defaults) for each in entries)
            routes[name] = there
            named = [route.provider for route in there]
            # Health is a provider's: a second model there would be chosen never.
            twice = sorted({provider for provider in named if named.count(provider) > 1})
            mistakes += [f"found {provider} twice, expected it once" for provider in twice]
        problems += [f"models.{name}: {mistake}" for mistake in mistakes]
    return routes


def _models(
    found: Mapping[str, Any], problems: list[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of ``[models]``: tables, also those that are written as a list of providers."""
    models = found.get("models", {})
    if not isinstance(models, dict):
        yield from _entries(found, "models", problems)
        return
    for name, entry in models.items():
        match entry:
            case dict():
                yield name, entry
            case list():
                yield name, {"providers": entry}
            case _:
                expected = 'expected a list of providers, ["openai", …], or a table'
                problems.append(f"models.{name}: found {entry!r}, {expected}")


def _choices(entry: Mapping[str, Any], mistakes: list[str]) -> list[Any]:
    """Each place of a model, as a table; the first choice first."""
    if "providers" not in entry:
        return [entry]
    if len(entry) > 1:
        mistakes.append("expected providers alone, or provider and model")
    named = entry["providers"]
    if not isinstance(named, list) or not named:
        expected = "expected a list of one or more, [{provider = …, model = …}, …]"
        mistakes.append(f"providers: {expected}")
        return []
    return [{"provider": each} if isinstance(each, str) else each for each in named]


def _route(name: str, entry: Mapping[str, str], defaults: Mapping[str, str]) -> ModelRoute:
    """Without a model it is called the same there; but if by its name it is of another kind
    (``gpt-realtime`` at Gemini), the provider's default is meant, where there is one.
    """
    provider = entry["provider"]
    is_of_others = owner_of(name) not in ("", kind_of(provider))
    default = default_model(provider, defaults) if is_of_others else ""
    return ModelRoute(provider, entry.get("model") or default or name)


def _route_problems(entry: object, name: str, providers: frozenset[str]) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"found {entry!r}, expected {{provider = …, model = …}}, or the name of a provider"
        return
    parts = [key for key, value in entry.items() if isinstance(value, list | dict)]
    if len(parts) == len(entry) == 1 and "provider" not in entry:
        yield f'found {parts[0]!r} in it; a name with a dot needs quotes: "{name}.{parts[0]}"'
        return
    if not _is_one_of(entry.get("provider"), providers):
        expected = ", ".join(sorted(providers))
        yield f"provider {entry.get('provider')!r}, expected one of {expected}"
    if not _is_name(entry.get("model", name)) or set(entry) - {"provider", "model"}:
        yield "expected provider and model, both text"


def _defaults(found: object, providers: frozenset[str], problems: list[str]) -> dict[str, str]:
    if not isinstance(found, dict):
        problems.append("defaults: expected a table of providers, each with a model")
        return {}
    for provider, model in found.items():
        if provider not in providers:
            expected = ", ".join(sorted(providers))
            problems.append(f"defaults.{provider}: expected one of {expected}")
        elif not _is_name(model):
            problems.append(f"defaults.{provider}: found {model!r}, expected a model's name")
    return found


def _health(found: object, problems: list[str]) -> HealthRule:
    if not isinstance(found, dict) or found.keys() - _HEALTH_BOUNDS.keys():
        problems.append(f"health: expected a table of {', '.join(_HEALTH_BOUNDS)}")
        return USUAL
    wrong = [
        f"health.{name}: found {value!r}, expected an integer from 1 to {_HEALTH_BOUNDS[name]}"
        for name, value in found.items()
        if type(value) is not int or not 1 <= value <= _HEALTH_BOUNDS[name]
    ]
    if wrong:
        problems += wrong
        return USUAL
    slow_s = found["slow_ms"] / 1000 if "slow_ms" in found else USUAL.slow_s
    slow_answer_ms = found.get("slow_answer_ms", USUAL.slow_answer_s * 1000)
    return HealthRule(slow_s, found.get("failures", USUAL.failures_max), slow_answer_ms / 1000)


def _voice_problems(
    found: Mapping[str, Mapping[str, Any]], providers: frozenset[str]
) -> Iterator[str]:
    for provider, voices in found.items():
        if provider not in providers:
            yield f"voices.{provider}: expected one of {', '.join(sorted(providers))}"
        named = set()
        for name, voice in voices.items():
            where = f"voices.{provider}.{name}"
            if not _is_name(voice):
                yield f"{where}: found {voice!r}, expected the name of a voice"
            if name.casefold() in named:
                yield f"{where}: found it twice; upper and lower case are the same"
            named.add(name.casefold())


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
    if not _is_one_of(entry.get("provider"), providers):
        expected = ", ".join(sorted(providers))
        yield f"provider: found {entry.get('provider')!r}, expected one of {expected}"
    model, minutes = entry.get("model", "*"), entry.get("minutes")
    if not _is_name(model):
        yield f"model: found {model!r}, expected a pattern of 1 to {ID_CHARS_MAX} characters"
    if type(minutes) is not int or not 1 <= minutes <= MINUTES_MAX:
        yield f"minutes: found {minutes!r}, expected an integer from 1 to {MINUTES_MAX}"


def _entries(
    found: Mapping[str, Any], table: str, problems: list[str]
) -> list[tuple[str, dict[str, Any]]]:
    entries = found.get(table, {})
    if not isinstance(entries, dict):
        problems.append(f"{table}: found {entries!r}, expected tables, [{table}.…]")
        return []
    problems += [
        f"{table}.{name}: found {entry!r}, expected a table"
        for name, entry in entries.items()
        if not isinstance(entry, dict)
    ]
    return [(name, entry) for name, entry in entries.items() if isinstance(entry, dict)]


def _names(table: object) -> Iterable[str]:
    """The names in a table, so that each is known although its entry is wrong."""
    return table if isinstance(table, dict) else ()


def _is_one_of(value: object, providers: frozenset[str]) -> bool:
    """Whether it is the name of one; a list of names, say, has no hash to look it up by."""
    return isinstance(value, str) and value in providers


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= ID_CHARS_MAX


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
