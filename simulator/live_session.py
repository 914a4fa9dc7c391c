"""One session of the simulated GPT-Live: continuous audio both ways, billed by its duration.

Its reports of seconds are cumulative. A response that it delegates to another model is billed by
that model's tokens, which it reports inside ``response.event``.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import Awaitable, Callable
from itertools import repeat
from typing import Any, Final

import structlog

from simulator import charges
from simulator.audio import PCM_RATE_HZ, AudioBuffer, Heard, Resampler, VoiceSettings, milliseconds
from simulator.client_events import ClientError, decode, event_id
from simulator.conversation import Conversation, spoken_item
from simulator.faults import Faults
from simulator.generation import Generation, Pace, pieces
from simulator.openai_events import SESSION_S, Event, event, make_id
from simulator.session_effects import Outside
from simulator.tokens import text_tokens

log = structlog.get_logger()

Send = Callable[[Event], Awaitable[None]]

PCM: Final = "audio/pcm"
RATES_HZ: Final = (16_000, 24_000)
DELTA_MS: Final = 200
REPORT_MS: Final = 1_000  # audio between two reports of the usage
NORMAL: Final = 1000
DELEGATED_TOKENS: Final = 21
SEARCHES: Final = 3
_WRITES_CACHE: Final = "gpt-5.6"
_NO_IMAGES: Final[Event] = {
    "input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}  # fmt: skip
_DELEGATED: Final = "Look up what the user asked for and answer in one sentence."


class LiveSideband:
    """A socket that is attached to the session of another connection."""

    def __init__(self, session: "LiveSession", send: Send) -> None:
        self._session = session
        self._send = send

    async def open(self) -> None:
        """Attach to the session and receive its events."""
        await self._session.attach(self._send)

    async def receive(self, data: str | bytes) -> None:
        """Serve one message; ``session.start`` is refused, since the session has begun."""
        await self._session.receive(data)

    async def expire(self) -> tuple[int, str]:
        """End the session, which has lasted too long; returns the close code and reason."""
        return await self._session.expire()

    async def close(self) -> None:
        """Its client is gone; the session goes on."""
        self._session.detach(self._send)


class LiveSession:
    """The state of one connection; ``configure`` is called with the model of session.start.

    ``model`` is the one in the URL, or that of the session that is forked; session.start then names
    no model.
    """

    def __init__(
        self,
        *,
        configure: Callable[[str], tuple[Faults, Pace]],
        outside: Outside,
        session_id: str,
        model: str = "",
    ) -> None:
        self._configure = configure
        self._outside = outside
        self._model = model
        self._attached: list[Send] = []
        self._session: Event = {"id": session_id}
        self._faults, self._pace = Faults(), Pace()
        self._conversation = Conversation()
        self._buffer = AudioBuffer()
        self._inward = self._outward = Resampler(PCM_RATE_HZ)
        self._is_started = False
        self._is_muted = False
        self._has_delegated = False
        self._audio_ms = 0
        self._reported_ms = 0
        self._billed_ms = 0
        self._reply: Generation | None = None
        self._replying: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """The model that the session was asked for."""
        return self._model

    async def attach(self, send: Send) -> None:
        """Another socket attaches: it gets all events from now on, but no audio."""
        await send(event("session.updated", session=self._session))
        self._attached.append(send)

    def detach(self, send: Send) -> None:
        """Stop sending events to a socket that was attached."""
        self._attached.remove(send)

    async def open(self) -> None:
        """Send nothing: GPT-Live waits for the client's session.start."""

    async def _send(self, message: Event) -> None:
        await self._outside.send(message)
        if message["type"] != "session.output_audio.delta":
            for send in list(self._attached):
                with contextlib.suppress(ConnectionError):
                    await send(message)

    async def receive(self, data: str | bytes) -> None:
        """Serve one message of the client; its mistakes are answered."""
        name = None
        try:
            message = decode(data)
            name = event_id(message)
            await self._handle(message, name)
        except ClientError as exc:
            details = {
                "type": "invalid_request_error",
                "code": exc.code,
                "message": str(exc),
                "param": exc.param,
                "client_event_id": name,
            }
            await self._send(event("error", error=details))

    async def expire(self) -> tuple[int, str]:
        """Report the last usage and return the close code and reason that follow."""
        await self._close("expired")
        return NORMAL, "expired"

    async def close(self) -> None:
        """The client is gone: stop generating."""
        if self._replying is not None:
            self._replying.cancel()
            await asyncio.gather(self._replying, return_exceptions=True)

    # --- what the client asks for -----------------------------------------------------------------

    async def _handle(self, message: Event, name: str | None) -> None:
        kind = message.get("type")
        if (kind == "session.start") == self._is_started:
            raise ClientError("invalid_value", "Send session.start first, and once.", "type")
        if kind == "session.start":
            await self._start(_object(message, "session"))
        elif kind == "session.input_audio.append":
            await self._listen(message)
        elif kind in ("session.input_audio.mute", "session.input_audio.unmute"):
            self._is_muted = kind.endswith(".mute")
            await self._send(event(f"{kind}d", client_event_id=name))
        elif kind == "session.instructions.append":
            at = self._audio_ms
            await self._send(event(f"{kind}ed", start_ms=at, end_ms=at, client_event_id=name))
        elif kind == "session.update":
            self._session |= {
                x: v for x, v in _object(message, "session").items() if x in ("delegation",)
            }
            await self._send(event("session.updated", session=self._session))
        elif kind == "session.close":
            await self._close("close_requested")
            await self._outside.hang_up(NORMAL, "close_requested")
        else:
            raise ClientError("invalid_value", f"Invalid value: '{str(kind)[:80]}'.", "type")

    async def _start(self, wanted: Event) -> None:
        model = wanted.get("model") or self._model
        if not isinstance(model, str) or not model:
            raise ClientError(
                "missing_required_parameter", "Missing 'session.model'.", "session.model"
            )
        audio = _object(wanted, "audio")
        audio_format = _object(audio, "format") or {"type": PCM, "rate": PCM_RATE_HZ}
        rate = audio_format.get("rate")
        if audio_format.get("type") != PCM or rate not in RATES_HZ:
            raise ClientError(
                "invalid_value", f"Expected audio/pcm at one of {RATES_HZ}.", "session.audio.format"
            )
        try:
            self._faults, self._pace = self._configure(model)
        except ValueError as exc:
            raise ClientError("invalid_value", str(exc), "session.model") from exc
        self._model = model
        self._inward, self._outward = Resampler(rate), Resampler(PCM_RATE_HZ, to_hz=rate)
        self._session = {
            **wanted,
            "id": self._session["id"],
            "expires_at": int(time.time()) + SESSION_S,
            "model": self._faults.served or model,
            "status": "active",
            "audio": {"output": {"voice": "marin"}, **audio, "format": audio_format},
        }
        self._is_started = True
        await self._send(event("session.started", session=self._session))

    async def _listen(self, message: Event) -> None:
        try:
            data = base64.b64decode(message["audio"], validate=True)
        except (KeyError, TypeError, ValueError) as exc:
            raise ClientError("invalid_value", "Expected base64 audio.", "audio") from exc
        pcm = self._inward.feed(data)
        self._audio_ms += milliseconds(len(pcm), PCM)
        if self._is_muted:
            pcm = bytes(len(pcm))
        while heard := self._buffer.append(pcm, VoiceSettings(), PCM):
            pcm = b""  # audio after the end of speech is still in the buffer's window
            for notice in heard:
                await (self._interrupt() if notice is Heard.SPEECH_STARTED else self._answer())
        if self._audio_ms - self._reported_ms >= REPORT_MS:
            await self._report()

    async def _interrupt(self) -> None:
        if self._reply is not None:
            self._reply.cancel("turn_detected")

    async def _answer(self) -> None:
        item = spoken_item(self._buffer.take(PCM), PCM)
        self._conversation.add(item)
        end_ms = self._audio_ms
        start_ms = max(0, end_ms - milliseconds(len(item.audio), PCM))
        await self._send(
            event(
                "session.input_transcript.delta",
                delta=f"Speech of {end_ms - start_ms} milliseconds.",
                start_ms=start_ms,
                end_ms=end_ms,
            )
        )
        if self._replying is not None:
            if self._faults.is_endless:
                return
            await asyncio.gather(self._replying)
        self._reply = Generation(self._pace, self._faults)
        self._replying = asyncio.get_running_loop().create_task(self._run(self._reply))

    # --- server events ----------------------------------------------------------------------------

    async def _run(self, reply: Generation) -> None:
        try:
            async with asyncio.timeout(self._faults.close_after_s):
                await self._speak(reply)
                if self._faults.is_done_withheld:
                    await asyncio.Event().wait()  # until the client leaves: close() cancels it
            self._reply = None
            await self._delegate()
            await self._report()
        except TimeoutError:
            assert self._faults.close_code is not None
            await self._outside.hang_up(self._faults.close_code)
        except ConnectionError:
            pass  # the client is gone; there is nobody to send the rest to
        except Exception:
            log.exception("reply failed")
            await self._outside.hang_up(1011)

    async def _speak(self, reply: Generation) -> None:
        audio = reply.audio(self._conversation, heard_as=PCM, spoken_as=PCM)
        words = reply.spoken(milliseconds(len(audio), PCM))
        for number, (piece, _) in enumerate(pieces(audio, PCM, repeat(DELTA_MS))):
            start_ms, length_ms = self._audio_ms, milliseconds(len(piece), PCM)
            place = {"start_ms": start_ms, "end_ms": start_ms + length_ms}
            said = words[number : number + 1]
            if said:
                delta = said[0] if not number else f" {said[0]}"
                await self._send(event("session.output_transcript.delta", delta=delta, **place))
            data = self._outward.feed(piece)
            delta = base64.b64encode(data).decode()
            # Unlike the other events, this one has no event_id.
            await self._send({"type": "session.output_audio.delta", "delta": delta, **place})
            self._outside.on_audio(piece)
            self._audio_ms += length_ms
            if await reply.pause(length_ms):
                return

    async def _delegate(self) -> None:
        """Delegate once in a session whose settings name a model to delegate to."""
        delegation = self._session.get("delegation")
        config = delegation.get("responses") if isinstance(delegation, dict) else None
        if self._has_delegated or not isinstance(config, dict):
            return
        self._has_delegated = True
        response_id, delegation_id = make_id("resp"), make_id("deleg")
        shown = {"id": delegation_id, "type": "delegation", "target": "responses"}
        await self._send(
            event(
                "session.delegation.created",
                delegation={**shown, "response_id": response_id},
                offset_ms=self._audio_ms,
            )
        )
        model = str(config.get("model"))
        counted = _tokens(self._conversation, is_written=model.startswith(_WRITES_CACHE))
        told = self._faults.reported(counted)
        response = _response(response_id, model, told)
        if _searches(config):
            response["tool_usage"] = {
                "image_gen": _NO_IMAGES, "web_search": {"num_requests": SEARCHES},
            }  # fmt: skip
        inner = {"type": "response.completed", "sequence_number": 1, "response": response}
        await self._send(event("response.event", event=inner, delegation_id=delegation_id))
        self._outside.log_usage(
            {
                "kind": "delegated",
                "response_id": response_id,
                "model": response["model"],
                "usage": told,
                "charge": charges.for_response(told, tools=response.get("tool_usage")),
            }
        )

    async def _report(self) -> None:
        ratio = min(1.0, self._audio_ms / (SESSION_S * 1000))
        await self._tell("session.usage.updated", context_window={"usage_ratio": ratio})

    async def _close(self, reason: str) -> None:
        if self._is_started:
            await self._tell("session.closed", reason=reason, session=self._session)

    async def _tell(self, kind: str, **fields: Any) -> None:
        """Send the cumulative usage; the log charges the seconds since the last report."""
        told = self._faults.reported({"seconds": self._audio_ms / 1000})
        message = event(kind, usage=told, **fields)
        if self._faults.usage == "missing":
            del message["usage"]
        self._reported_ms = self._audio_ms
        await self._send(message)
        charge = charges.for_seconds(told, already_ms=self._billed_ms)
        self._billed_ms += charge["billed_ms"] if charge is not None else 0
        self._outside.log_usage(
            {
                "kind": "seconds",
                "response_id": message["event_id"],
                "model": self._session["model"],
                "usage": told,
                "charge": charge,
            }
        )


def _object(message: Event, name: str) -> Event:
    found = message.get(name)
    if found is not None and not isinstance(found, dict):
        raise ClientError("invalid_value", f"Expected an object: '{name}'.", name)
    return found or {}


def _searches(config: Event) -> bool:
    """Whether the model may search the web."""
    tools = config.get("tools")
    return isinstance(tools, list) and {"type": "web_search"} in tools


def _tokens(conversation: Conversation, *, is_written: bool) -> Event:
    into = text_tokens(_DELEGATED) + conversation.tokens.total
    written = into if is_written else 0
    return {
        "input_tokens": into,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": written},
        "output_tokens": DELEGATED_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 9},
        "total_tokens": into + DELEGATED_TOKENS,
    }


def _response(response_id: str, model: str, usage: Event | None) -> Event:
    """A response of the Responses API that has ended."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }
