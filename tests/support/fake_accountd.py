"""An accountd for tests that says what it is told to, on the real wire."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import zmq

from shared import zmq_sockets
from shared.announcements import Recall, Watermark, encode_recall, encode_watermark
from shared.errors import AlreadyRunningError
from shared.requests import Reply, Request, decode_request, encode_reply
from shared.wire import LEVEL, Envelope, decode_envelope
from tests.support.harness import eventually

POLL_MS = 20
AUTHORIZATION = {
    "account_id": "acct", "key_indicator": "rsliv", "token_remaining": 10**9, "topup_remaining": 9,
}  # fmt: skip
LATER_METHODS = ("handles.", "leases.", "providers.", "recalls")
_UNKNOWN = ("unknown_method", "no method; is accountd older?")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A usage message, and when it came (monotonic seconds)."""

    envelope: Envelope
    at: float

    @property
    def sequence(self) -> int:
        """Its number."""
        return self.envelope.sequence


class FakeAccountd:
    """Lets everybody in, takes usage, and announces only what the test announces.

    ``epoch`` and ``applied_through`` are its answers to ``sync``; none while ``is_mute``. Requests
    of the method that it ``holds`` are answered when it holds it no longer; ``held`` are they.
    Without a ``level`` it is of an earlier release, which knows nothing of handles, providers,
    recalls or leases. ``reports`` are those of providers, answered with what is ``drained``;
    ``recalls`` are told to whoever asks. Sessions have ``limits``; where they are ``is_leased`` the
    key of each is in ``leases``. Every key is refused with ``denial``.
    """

    def __init__(self, context: "zmq.Context[Any]", env: dict[str, str]) -> None:
        self._context = context
        self._env = env
        self._events = self._bind(zmq.PUB, "EVENTS")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.arrivals: list[Arrival] = []
        self.questions: list[float] = []
        self.epoch = 10
        self.applied_through = 0
        self.level: int | None = LEVEL  # None: of before there were levels
        self.reports: list[Mapping[str, Any]] = []
        self.drained: list[str] = []
        self.recalls: list[Recall] = []
        self.limits: Mapping[str, Any] = {}
        self.is_leased = False
        self.leases: dict[str, str] = {}
        self.leasing: set[str] = set()  # gateways that are known
        self.denial: Reply | None = None
        self.is_mute = True
        self.holds = ""
        self.held: list[Request] = []
        self._answers_held: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Open the sockets for usage and requests."""
        usage, requests = self._bind(zmq.PULL, "USAGE"), self._bind(zmq.ROUTER, "RPC")
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, args=(usage, requests))
        self._thread.start()

    def end(self) -> None:
        """Close them: every connection breaks."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Free everything."""
        self.end()
        self._events.close(linger=0)

    def announce(self, applied_through: int, *, epoch: int | None = None) -> None:
        """Say that the producer's messages up to ``applied_through`` are durable."""
        producer = self.arrivals[0].envelope.producer
        watermark = Watermark(producer, self.epoch if epoch is None else epoch, applied_through)
        self._events.send_multipart(encode_watermark(watermark))

    def arrived(self, sequence: int) -> list[float]:
        """When the message with that number came, every time."""
        return [arrival.at for arrival in self.arrivals if arrival.sequence == sequence]

    def _serve(self, usage: Any, requests: Any) -> None:
        poller = zmq.Poller()
        for socket in (usage, requests):
            poller.register(socket, zmq.POLLIN)
        while not self._stop.is_set():
            for socket, _ in poller.poll(POLL_MS):
                frames = socket.recv_multipart()
                if socket is usage:
                    self.arrivals.append(Arrival(decode_envelope(frames), time.monotonic()))
                else:
                    self._answer(socket, frames)
            while self._answers_held and not self.holds:
                self._answers_held.pop(0)()
        usage.close(linger=0)
        requests.close(linger=0)

    def _answer(self, socket: Any, frames: list[bytes]) -> None:
        request = decode_request(frames[-1])
        result: Any = {}
        if request.method == "authorize":
            result = self._authorized(request.params)
        if request.method == "leases.renew":
            result = self._renewed(request.params)
        if request.method == "ping" and self.level is not None:
            result = {"level": self.level, "epoch": self.epoch}
        if request.method == "sync":
            self.questions.append(time.monotonic())
            if self.is_mute:
                return
            count = len(request.params["producers"])
            result = {"epoch": self.epoch, "applied_through": [self.applied_through] * count}
        if request.method == "providers.report":
            self.reports.append(request.params)
            result = {"drained": self.drained}
        if request.method == "recalls":
            since = request.params["since"]
            news = [x for x in self.recalls if since is not None and x.number > since]
            result = {"mark": self.epoch, "recalls": [encode_recall(recall) for recall in news]}
        is_unknown = self.level is None and request.method.startswith(LATER_METHODS)
        reply = Reply(error=_UNKNOWN) if is_unknown else Reply(result=result)
        if request.method == "authorize" and self.denial is not None:
            reply = self.denial
        answer = partial(socket.send_multipart, [*frames[:-1], encode_reply(reply)])
        if request.method == self.holds:
            self.held.append(request)
            self._answers_held.append(answer)
        else:
            answer()

    def _authorized(self, params: Mapping[str, Any]) -> Any:
        is_leased = self.is_leased and "lease" in params and self.denial is None
        if is_leased:
            self.leases[params["lease"]] = params["key_hash"]
        return {**AUTHORIZATION, "limits": self.limits, "is_leased": is_leased}

    def _renewed(self, params: Mapping[str, Any]) -> Any:
        is_known = params["gateway"] in self.leasing
        self.leasing.add(params["gateway"])
        self.leases.update(dict(params["held"]))
        for lease in params["released"]:
            self.leases.pop(lease, None)
        if params["is_last"]:
            self.leases.clear()
        return {"is_known": is_known}

    def _bind(self, kind: int, name: str) -> Any:
        socket = self._context.socket(kind)
        zmq_sockets.configure(socket)
        eventually(lambda: self._is_bound(socket, self._env[f"ACCOUNTD_{name}_ENDPOINT"]))
        return socket

    @staticmethod
    def _is_bound(socket: Any, endpoint: str) -> bool:
        try:
            zmq_sockets.bind(socket, endpoint)
        except AlreadyRunningError:  # ZeroMQ closes the previous socket in a thread of its own
            return False
        return True


@contextmanager
def fake_accountd(env: dict[str, str]) -> Iterator[FakeAccountd]:
    """One that serves on the endpoints of ``env``."""
    with zmq.Context() as context:
        fake = FakeAccountd(context, env)
        fake.begin()
        try:
            yield fake
        finally:
            fake.close()
