"""Voices: which one of a provider stands in for which one of another. Pure.

The names are those that the providers document; a stand-in is near in pitch and manner, and nothing
more. A voice that nobody knows is left to the provider's default: no name is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.provider_kinds import kind_of

_OPENAI: Final = (
    "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar",
)  # fmt: skip
_XAI: Final = (
    "ara", "eve", "leo", "rex", "sal", "altair", "atlas", "aurora", "carina", "castor", "celeste",
    "cosmo", "helios", "helix", "iris", "kepler", "liora", "lumen", "luna", "lux", "naksh", "orion",
    "perseus", "rigel", "sirius", "ursa", "zagan", "zenith",
)  # fmt: skip
# Of the client's voices only those whose manner is known; Gemini's are all there.
_TO_OPENAI: Final[Mapping[str, str]] = {
    # Gemini's, female
    "Achernar": "shimmer", "Aoede": "coral", "Autonoe": "sage", "Callirrhoe": "marin",
    "Despina": "coral", "Erinome": "sage", "Gacrux": "marin", "Kore": "sage",
    "Laomedeia": "coral", "Leda": "shimmer", "Pulcherrima": "marin", "Sulafat": "marin",
    "Vindemiatrix": "shimmer", "Zephyr": "alloy",
    # Gemini's, male
    "Achird": "echo", "Algenib": "ash", "Algieba": "ballad", "Alnilam": "cedar",
    "Charon": "ash", "Enceladus": "ballad", "Fenrir": "ballad", "Iapetus": "cedar",
    "Orus": "verse", "Puck": "echo", "Rasalgethi": "ash", "Sadachbia": "verse",
    "Sadaltager": "cedar", "Schedar": "cedar", "Umbriel": "ballad", "Zubenelgenubi": "echo",
    # xAI's
    "ara": "coral", "eve": "marin", "leo": "ash", "rex": "cedar", "sal": "alloy",
}  # fmt: skip
_TO_GEMINI: Final[Mapping[str, str]] = {
    # OpenAI's
    "alloy": "Zephyr", "ash": "Charon", "ballad": "Fenrir", "cedar": "Charon", "coral": "Aoede",
    "echo": "Puck", "marin": "Aoede", "sage": "Kore", "shimmer": "Leda", "verse": "Orus",
    # xAI's
    "ara": "Aoede", "eve": "Leda", "leo": "Orus", "rex": "Charon", "sal": "Zephyr",
}  # fmt: skip
_OPENAI_TO_XAI: Final[Mapping[str, str]] = {
    "alloy": "sal", "ash": "leo", "ballad": "rex", "cedar": "rex", "coral": "ara", "echo": "rex",
    "marin": "eve", "sage": "ara", "shimmer": "eve", "verse": "leo",
}  # fmt: skip
_GEMINI: Final = tuple(name for name in _TO_OPENAI if name not in _XAI)
# Gemini's through OpenAI's.
_TO_XAI: Final[Mapping[str, str]] = {
    **_OPENAI_TO_XAI, **{name: _OPENAI_TO_XAI[_TO_OPENAI[name]] for name in _GEMINI}
}  # fmt: skip


def _folded(own: tuple[str, ...], stand_ins: Mapping[str, str]) -> Mapping[str, str]:
    """A provider's voice by any name; of its own names it is that one."""
    names = {**stand_ins, **{name: name for name in own}}
    return {name.casefold(): voice for name, voice in names.items()}


_BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = {
    "openai": _folded(_OPENAI, _TO_OPENAI),
    "azure": _folded(_OPENAI, _TO_OPENAI),
    "gemini": _folded(_GEMINI, _TO_GEMINI),
    "xai": _folded(_XAI, _TO_XAI),
}


@dataclass(frozen=True, slots=True)
class VoiceTable:
    """What a configuration says beside the built-in tables, and before them.

    ``by_target``: for each provider a client's name and the provider's, e.g.
    ``{"gemini": {"alloy": "Kore"}}``. It may name voices that are not built in, custom ones too.
    """

    by_target: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def at(self, provider: str) -> "VoiceTable":
        """The table in which what is said of ``provider`` is said of its kind."""
        kind = kind_of(provider)
        if provider == kind or provider not in self.by_target:
            return self
        own = self.by_target[provider]
        names = {name.casefold() for name in own}
        others = self.by_target.get(kind, {}).items()
        rest = {name: voice for name, voice in others if name.casefold() not in names}
        return VoiceTable({**self.by_target, kind: {**rest, **own}})


BUILT_IN: Final = VoiceTable()


def voice_for(name: object, provider: str, table: VoiceTable = BUILT_IN) -> str | None:
    """The voice of ``provider`` for the voice ``name`` of a client; None is its default.

    A name of the provider's own is kept. Case does not matter.
    """
    if not isinstance(name, str):
        return None
    wanted = name.casefold()
    kind = kind_of(provider)
    for given, voice in table.at(provider).by_target.get(kind, {}).items():
        if given.casefold() == wanted:
            return voice
    return _BUILT_IN[kind].get(wanted)
