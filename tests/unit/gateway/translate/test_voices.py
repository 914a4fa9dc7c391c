"""``translate.voices``: which voice stands in for which."""

import pytest

from gateway.translate.voices import VoiceTable, voice_for
from shared.provider_kinds import KINDS


@pytest.mark.parametrize(
    ("name", "protocol", "expected"),
    [
        ("alloy", "gemini", "Zephyr"),
        ("Kore", "openai", "sage"),
        ("kore", "gemini", "Kore"),
        ("marin", "openai", "marin"),
        ("Eve", "openai", "marin"),
        ("Kore", "azure", "sage"),
        ("Puck", "xai", "rex"),
        ("Zenith", "xai", "zenith"),
        ("zenith", "gemini", None),
        ("nobody", "openai", None),
        ({"id": "voice_1"}, "gemini", None),
    ],
)
def test_a_voice_has_a_stand_in(name: object, protocol: str, expected: str | None) -> None:
    """A provider's own voice is kept, another's is replaced, an unknown one is left to it."""
    assert voice_for(name, protocol) == expected


def test_a_configured_voice_comes_first() -> None:
    """The configuration's table overrides the built-in one."""
    table = VoiceTable({"gemini": {"Alloy": "Sulafat"}})
    assert voice_for("alloy", "gemini", table) == "Sulafat"
    assert voice_for("ash", "gemini", table) == "Charon"


GEMINI = """
    Zephyr Puck Charon Kore Fenrir Leda Orus Aoede Callirrhoe Autonoe Enceladus Iapetus Umbriel
    Algieba Despina Erinome Algenib Rasalgethi Laomedeia Achernar Alnilam Schedar Gacrux Pulcherrima
    Achird Zubenelgenubi Vindemiatrix Sadachbia Sadaltager Sulafat
""".split()  # noqa: SIM905
OPENAI = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")


@pytest.mark.parametrize("protocol", KINDS)
@pytest.mark.parametrize("name", [*GEMINI, *OPENAI])
def test_every_voice_has_a_stand_in_everywhere(name: str, protocol: str) -> None:
    """No voice of OpenAI or Gemini is lost, and each stand-in is a voice that is kept."""
    voice = voice_for(name, protocol)
    assert voice is not None
    assert voice_for(voice, protocol) == voice
