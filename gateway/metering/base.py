"""What a meter is: its interface, what it finds, and how it joins fragments. Pure.

A meter sees every data frame of the provider before it is forwarded, without parsing audio: it
peeks at the first bytes of a message or searches it for a few names, and parses JSON only on a hit.
What is charged is read from the parsed object, never from text positions. The meters themselves are
those of the provider families: ``metering.openai.meter`` and ``metering.gemini.meter``.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from gateway.frames import Frame, Opcode, Span
from gateway.handles.handle import IssuedHandle
from gateway.limits import RESPONSE_IDS_MAX
from shared.usage import Kind, Usage


@dataclass(frozen=True, slots=True)
class Metered:
    """One charge: the usage of a response, or of what is charged like one, and its model.

    ``raw`` is JSON text of the parts of the provider's usage object that are not known here.
    ``is_local``: the id was made here, and the next connection has the same one (``turn_1``).
    """

    response_id: str
    model: str
    usage: Usage
    kind: Kind = Kind.RESPONSE
    raw: str = ""
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A usage that cannot be charged, for the quarantine. ``detail`` says why, ``raw`` is its JSON
    text.
    """

    response_id: str
    model: str
    detail: str
    raw: str


MeterResult = Metered | Unreadable
# What nearly every frame gives: one value, so that none is made for each frame.
NO_RESULTS: Final[Sequence[MeterResult]] = ()
# A plain integer: comparing with an IntEnum member costs ten times as much.
_BINARY: Final = int(Opcode.BINARY)


class MaskedError(NamedTuple):
    """An error that is kept from the client: its code, the message that it gets instead, and the
    type of its event.
    """

    code: str
    message: bytes
    kind: str


class Meter(Protocol):
    """The meter of one session."""

    model: str
    """The model that is billed: what the client asked for, until the provider names its own."""

    masked_error: MaskedError | None
    """What the client gets in place of the message that ``observe`` saw last. It is None nearly
    always: the message goes on as it came. The caller reads it and sets it to None again.
    """

    is_shared: bool
    """Whether another socket may report the same responses. Those with the provider's own id are
    then charged once, by accountd.
    """

    issued_handle: IssuedHandle | None
    """The handle in the message that ``observe`` saw last; None nearly always. The caller reads it
    and sets it to None again.
    """

    cancels_answered: int
    """How many events so far may have answered a cancel of ours: responses that ended, and errors
    that say that there was nothing to cancel. Zero where a provider answers no cancel.
    """

    @property
    def in_flight(self) -> frozenset[str]:
        """The ids of responses and transcriptions that are certain to come and whose usage has not
        arrived.
        """

    @property
    def streaming(self) -> frozenset[str]:
        """The ids of responses that were begun and have not ended. A client whose credit is used
        up still gets these whole. Transcriptions are not among them, nor an answer that lasts as
        long as its session (GPT-Live).
        """

    @property
    def is_asked(self) -> bool:
        """Whether a response was asked for that has neither begun nor been refused, as far as the
        messages say so that are looked at anyway; false where ``streaming`` holds it already.
        """

    @property
    def may_answer(self) -> bool:
        """Whether what the provider has heard so far may make it begin a response by itself."""

    @property
    def is_continuous(self) -> bool:
        """Whether the session is heard all the time, and has no responses that begin and end:
        GPT-Live, translations, transcription.
        """

    @property
    def drain_s(self) -> float:
        """How many seconds to wait for usage that is still to be reported when the client is gone:
        at most ``DRAIN_S``, and 0 when nothing is to come.
        """

    def skim(self, read: bytes, span: Span) -> bool:
        """Whether a message of the provider in one frame is audio by its first bytes, which is
        counted then. If not, nothing has happened: ``observe`` takes the frame.
        """

    def observe(self, frame: Frame) -> Sequence[MeterResult]:
        """Look at the next data frame of the provider; the charges that it completes."""

    def observe_client(self, frame: Frame) -> Sequence[MeterResult]:
        """Look at the next data frame of the client, before it is forwarded. It completes charges
        where the provider reports no usage (translations: one for each minute of audio).
        """

    def skim_client(self, read: bytes, span: Span) -> bool:
        """The same for a message of the client, which ``observe_client`` takes if not."""

    def cancel_events(self) -> list[bytes]:
        """What to send to the provider when the client is gone. It ends what is in flight, or it
        makes the provider answer that nothing is. Called again for a response that begins later.
        """

    def finish(self) -> list[MeterResult]:
        """The session is over: what was reported and not charged yet, and estimates for the
        responses whose usage will never come.
        """


class CallMeter(Meter, Protocol):
    """The meter of a call, whose audio does not pass here."""

    def passed(self, seconds: float) -> None:
        """Count ``seconds`` as the caller's audio and, while a response is in flight, as its
        audio.
        """

    def estimate_responses(self, names: Collection[str]) -> list[MeterResult]:
        """Estimates of responses whose usage was sent while nothing was heard of the call. They
        are no longer in flight.
        """


def results_of(*found: MeterResult | None) -> Sequence[MeterResult]:
    """``found`` without None."""
    return tuple(one for one in found if one is not None) or NO_RESULTS


class Fragments:
    """Joins the fragments of messages. A message in one frame need not pass here."""

    __slots__ = ("_parts", "is_binary")

    def __init__(self) -> None:
        self._parts: list[bytes] | None = None
        self.is_binary = False  # the message whose fragments came last

    def add(self, frame: Frame) -> bytes | None:
        """The whole message when ``frame`` is its last fragment."""
        payload = frame.raw[frame.start :]
        if not frame.continues:
            self._parts = [payload]
            self.is_binary = frame.opcode == _BINARY
        elif self._parts is not None:
            self._parts.append(payload)
        if not frame.is_final:
            return None
        message, self._parts = b"".join(self._parts or ()), None
        return message


class RecentIds:
    """Names of what was metered in one session, the newest ``RESPONSE_IDS_MAX`` of them."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def is_repeated(self, name: str) -> bool:
        """Whether ``name`` was seen before; it is remembered. An empty name never was."""
        is_repeated = name in self._ids
        self.add(name)
        return is_repeated

    def add(self, name: str) -> None:
        """Remember ``name``, unless it is empty."""
        if not name or name in self._ids:
            return
        if len(self._ids) >= RESPONSE_IDS_MAX:
            del self._ids[next(iter(self._ids))]
        self._ids[name] = None

    def discard(self, name: str) -> None:
        """Forget ``name``."""
        self._ids.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)
