"""Generates one response, spoken, written or a tool call: its events in the provider's order and
pace.
"""

import copy
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from simulator import openai_events as events
from simulator.audio import milliseconds
from simulator.conversation import Conversation, Item
from simulator.faults import Faults
from simulator.generation import Generation, Pace, chosen_tool, pieces
from simulator.openai_events import Event, make_id
from simulator.tokens import Tokens, assistant_audio_tokens, text_tokens, usage

Send = Callable[[Event], Awaitable[None]]

TEXT_DELTAS_AHEAD: Final = 3  # transcript deltas that are sent before the audio of their words
TOOL_DELTAS: Final = 12


class Reply(Generation):
    """One response in progress: ``begin``, ``generate``, then ``done`` makes response.done.

    ``began_at`` is the Unix time at which response.created was sent; None before.
    """

    def __init__(
        self,
        session: Event,
        conversation: Conversation,
        *,
        wanted: Event,
        pace: Pace,
        faults: Faults,
        cached_before: int,
        delta_sizes_ms: Iterator[int],
        send: Send,
        on_audio: Callable[[bytes], None],
    ) -> None:
        limit = wanted.get("max_output_tokens", session["max_output_tokens"])
        super().__init__(pace, faults, tokens_max=limit)
        self._session = copy.deepcopy(session)  # a session.update applies from the next response on
        self._conversation = conversation
        self._wanted = wanted
        self._send = send
        self._on_audio = on_audio
        self._delta_sizes_ms = delta_sizes_ms
        self._output: list[Event] = []
        self._history = conversation.tokens
        self._cached_before = cached_before
        self.id = make_id("resp")
        self.began_at: float | None = None

    async def begin(self) -> None:
        """Send response.created."""
        await self._send(events.event("response.created", response=self._body("in_progress")))
        self.began_at = time.time()

    async def generate(self) -> None:
        """Send everything between response.created and response.done."""
        self.prepare(self._conversation, self._told)
        tool = self._tool()
        if tool is not None:
            await self._call(tool)
        elif "audio" in self._modalities:
            await self._speak()
        else:
            await self._write()

    @property
    def usage(self) -> Event:
        """The usage of the response so far."""
        return usage(self._history, self.made, cached_before=self._cached_before)

    def done(self, reported: Event | None) -> Event:
        """The response.done, with ``reported`` as its usage."""
        body = self._body(self.status, details=self._details, reported=reported)
        return events.event("response.done", response=body)

    # --- the three kinds --------------------------------------------------------------------------

    async def _speak(self) -> None:
        audio_format = self._session["audio"]["output"]["format"]["type"]
        audio = self.audio(
            self._conversation,
            heard_as=self._session["audio"]["input"]["format"]["type"],
            spoken_as=audio_format,
        )
        words = self.spoken(milliseconds(len(audio), audio_format))
        item = self._message({"type": "output_audio", "transcript": ""})
        place = await self._open(item, {"type": "audio", "transcript": ""})
        said: list[str] = []
        for piece, played_ms in pieces(audio, audio_format, self._delta_sizes_ms):
            ahead = 1 if said else TEXT_DELTAS_AHEAD
            await self._say(words[len(said) : len(said) + ahead], said, place)
            await self._send(events.audio_delta(piece, **place))
            self._on_audio(piece)
            self.made = Tokens(
                text=text_tokens(" ".join(said)), audio=assistant_audio_tokens(played_ms)
            )
            if await self.pause(milliseconds(len(piece), audio_format)):
                break
        if not self.is_cut:
            await self._say(words[len(said) :], said, place)
        transcript = " ".join(said)
        await self._send(events.event("response.output_audio.done", **place))
        await self._send(
            events.event("response.output_audio_transcript.done", **place, transcript=transcript)
        )
        item["content"][0]["transcript"] = transcript
        await self._shut(item, {"type": "audio", "transcript": transcript}, place)

    async def _write(self) -> None:
        item = self._message({"type": "output_text", "text": ""})
        place = await self._open(item, {"type": "text", "text": ""})
        text = ""
        for word in self.written():
            delta = word if not text else f" {word}"
            await self._send(events.padded_delta("response.output_text.delta", delta, **place))
            text += delta
            self.made = Tokens(text=text_tokens(text))
            if await self.pause(50):
                break
        await self._send(events.event("response.output_text.done", **place, text=text))
        item["content"][0]["text"] = text
        await self._shut(item, {"type": "text", "text": text}, place)

    async def _call(self, name: str) -> None:
        whole, arguments = json.dumps(self.arguments()), ""
        item: Event = {
            "id": make_id("item"),
            "type": "function_call",
            "object": "realtime.item",
            "status": "in_progress",
            "name": name,
            "call_id": make_id("call"),
            "arguments": "",
        }
        place = {"response_id": self.id, "item_id": item["id"], "output_index": 0}
        await self._announce(item)
        place["call_id"] = item["call_id"]
        for number in range(TOOL_DELTAS):
            delta = whole[len(arguments) : len(whole) * (number + 1) // TOOL_DELTAS]
            arguments += delta
            await self._send(
                events.padded_delta("response.function_call_arguments.delta", delta, **place)
            )
            self.made = Tokens(text=text_tokens(arguments))
            if await self.pause(20):
                break
        done = events.event(
            "response.function_call_arguments.done", **place, name=name, arguments=arguments
        )
        await self._send(done)
        item["arguments"] = arguments
        await self._complete(item)

    # --- parts of a response ----------------------------------------------------------------------

    def _message(self, part: Event) -> Event:
        return {
            "id": make_id("item"),
            "type": "message",
            "object": "realtime.item",
            "status": "in_progress",
            "role": "assistant",
            "content": [part],
        }

    async def _announce(self, item: Event) -> None:
        shown = {**item, "content": []} if "content" in item else dict(item)
        added = events.event(
            "response.output_item.added", response_id=self.id, output_index=0, item=shown
        )
        await self._send(added)
        previous = self._conversation.last_id
        self._output.append(item)
        self._conversation.add(Item(item, Tokens()))
        await self._send(
            events.event("conversation.item.added", previous_item_id=previous, item=shown)
        )

    async def _open(self, item: Event, part: Event) -> dict[str, Any]:
        await self._announce(item)
        place = {
            "response_id": self.id,
            "item_id": item["id"],
            "output_index": 0,
            "content_index": 0,
        }
        await self._send(events.event("response.content_part.added", **place, part=part))
        return place

    async def _shut(self, item: Event, part: Event, place: dict[str, Any]) -> None:
        await self._send(events.event("response.content_part.done", **place, part=part))
        await self._complete(item)

    async def _complete(self, item: Event) -> None:
        item["status"] = "incomplete" if self.is_cut else "completed"
        self._conversation.add(Item(item, self.made))
        previous = [name for name in self._conversation.items if name != item["id"]]
        await self._send(
            events.event(
                "conversation.item.done",
                previous_item_id=previous[-1] if previous else None,
                item=item,
            )
        )
        await self._send(
            events.event(
                "response.output_item.done", response_id=self.id, output_index=0, item=item
            )
        )

    async def _say(self, words: list[str], said: list[str], place: dict[str, Any]) -> None:
        for word in words:
            delta = word if not said else f" {word}"
            said.append(word)
            await self._send(
                events.padded_delta("response.output_audio_transcript.delta", delta, **place)
            )

    # --- the response object ----------------------------------------------------------------------

    @property
    def _details(self) -> Event | None:
        if self.status == "failed":
            error = {
                "type": "server_error",
                "code": "server_error",
                "message": "The server had an error while processing your request.",
            }
            return {"type": "failed", "error": error}
        return {"type": self.status, "reason": self.reason} if self.is_cut else None

    @property
    def _told(self) -> str:
        """The client's instructions; empty where the provider's own are in effect."""
        told = str(self._wanted.get("instructions") or self._session["instructions"])
        return "" if told == events.INSTRUCTIONS else told

    @property
    def _modalities(self) -> list[str]:
        found = self._wanted.get("output_modalities") or self._session["output_modalities"]
        return [str(name) for name in found]

    def _body(
        self, status: str, *, details: Event | None = None, reported: Event | None = None
    ) -> Event:
        return events.response(
            self._session, self.id, self._conversation.id,
            status=status, details=details, output=list(self._output), usage=reported,
            modalities=self._modalities, metadata=self._wanted.get("metadata"),
        )  # fmt: skip

    def _tool(self) -> str | None:
        tools = self._wanted.get("tools") or self._session["tools"]
        names = [str(t["name"]) for t in tools if isinstance(t, dict) and t.get("name")]
        choice = self._wanted.get("tool_choice") or self._session["tool_choice"]
        return chosen_tool(names, choice, self._conversation)
