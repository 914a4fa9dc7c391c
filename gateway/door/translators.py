"""Which translator stands between a client and a provider. Pure.

The keepers are loaded with the gateway. The translators, and numpy, are loaded at the start where
providers of both families are configured (``preload``), else by the first client of the beta: a
gateway whose sessions all speak their provider's protocol has neither.
"""

from msgspec.structs import replace

from gateway.handles.handle import HandleKind
from gateway.providers.base import REALTIME, Dialect, Target
from gateway.translate.base import Translator
from gateway.translate.conversation import Conversation
from gateway.translate.kept.keeper import Keeper
from gateway.translate.kept.keeping import Keeping
from gateway.translate.kept_gemini.keeper import GeminiKeeper
from gateway.translate.voices import VoiceTable


def translator_for(
    target: Target,
    model: str,
    *,
    seed: str,
    voices: VoiceTable,
    conversation: Conversation | None = None,
    home: str = "",
) -> Translator:
    """The translator of one session. ``model`` is the provider's name; ``seed`` is text of at most
    12 characters that no other session has; ``voices`` are the operator's. The session continues
    ``conversation``, of a client that was there before, or that configured it at ``home``.
    """
    from gateway.translate.beta import BetaTranslator  # noqa: PLC0415
    from gateway.translate.chain import Chained  # noqa: PLC0415
    from gateway.translate.to_gemini.translator import GeminiTranslator  # noqa: PLC0415
    from gateway.translate.to_openai.translator import OpenAITranslator  # noqa: PLC0415

    match target.dialect, target.provider_dialect:
        case Dialect.OPENAI_BETA, Dialect.OPENAI:
            return BetaTranslator(seed=seed, voices=voices, conversation=conversation, home=home)
        case Dialect.GEMINI, _:
            if conversation is not None:  # a Gemini client configures everything in its setup
                conversation = replace(conversation, session={})
            return OpenAITranslator(
                provider=target.provider,
                model=model,
                seed=seed,
                voices=voices,
                conversation=conversation,
            )
    to_gemini = GeminiTranslator(
        model=model, seed=seed, voices=voices.at(target.provider), conversation=conversation
    )
    if target.dialect is Dialect.OPENAI_BETA:
        return Chained(BetaTranslator(seed=seed, voices=voices), to_gemini)
    return to_gemini


def keeper_for(
    target: Target,
    model: str,
    *,
    seed: str,
    voices: VoiceTable,
    conversation: Conversation | None = None,
    home: str = "",
) -> Keeping:
    """What keeps the conversation of a session in which nothing is translated; see
    ``translator_for``.
    """
    if target.dialect is Dialect.GEMINI:
        if conversation is not None:  # its client's setup takes the place of the configuration
            conversation = replace(conversation, session={})
        return GeminiKeeper(seed=seed, voices=voices, conversation=conversation, model=model)
    named = target.conversation_id
    return Keeper(seed=seed, voices=voices, conversation=conversation, home=home, named=named)


def may_be_kept(target: Target) -> bool:
    """Whether a session in which nothing is translated can go on at another connection: one of
    OpenAI's GA protocol with a model, which is all that the conversation hangs on, or Gemini's. A
    conversation of xAI's goes on by its name, or is told as it was replayed.
    """
    if target.dialect is Dialect.GEMINI:
        return target.provider_dialect is Dialect.GEMINI
    is_realtime = target.path.endswith(REALTIME) and target.dialect is Dialect.OPENAI
    is_joining = any(handle.kind is not HandleKind.CONVERSATION for handle in target.handles)
    return is_realtime and bool(target.model) and not (target.is_transcription or is_joining)


def preload() -> None:
    """Import what translated sessions need: with numpy it takes a fifth of a second, in which no
    frame of the other sessions would be relayed.
    """
    from gateway.translate import audio, beta, chain  # noqa: F401, PLC0415
    from gateway.translate.to_gemini import translator as _to_gemini  # noqa: F401, PLC0415
    from gateway.translate.to_openai import translator as _to_openai  # noqa: F401, PLC0415

    audio.preload()
