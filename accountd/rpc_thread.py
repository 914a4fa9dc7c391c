"""The thread of requests: the one owner of the ROUTER socket.

It answers by itself what only reads and must not wait (``at_once``), from what is committed.
Everything else it hands over, to a reader thread (``reports``) or to the daemon's loop, and sends
their answers. So while the loop commits a group, or waits for the disk, keys are authorized.

Requests of one caller may be answered in another order than they came; each answer has the frames
by which its caller knows it. Whoever asks after an answer finds what it said: a transaction is
committed before its answer is handed over.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import structlog
import zmq

from accountd.data import models
from accountd.rpc import Answer, answer
from shared.fields import WireError
from shared.requests import Reply, Request, decode_request, encode_reply

log = structlog.get_logger()

REPORTS_WAITING_MAX: Final = 64
# Requests that wait for the loop, which takes 200 in a turn. More are refused, not left in ZeroMQ:
# authorizations stand behind them.
LOOP_WAITING_MAX: Final = 1_000
# Requests read between two looks at the answers that others have ready.
PER_TURN_MAX: Final = 200

Address = list[bytes]


class RpcThread:
    """Reads requests and sends answers. ``start`` before use; ``stop`` and ``close`` at the end.

    ``wakeup`` is a descriptor that is readable when requests wait for the loop, or ``failure`` is
    set: the error of a request that has to end the daemon (an I/O error, a corrupt page, a bug).
    """

    def __init__(
        self,
        socket: "zmq.Socket[Any]",
        *,
        at_once: Mapping[str, Answer],
        reports: Mapping[str, Answer],
    ) -> None:
        """``socket`` is a bound ROUTER; ``at_once`` and ``reports`` are handlers by method."""
        self._socket = socket
        self._at_once, self._report_handlers = at_once, reports
        self.wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.failure: BaseException | None = None
        self._answered = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._for_loop: deque[tuple[Address, Request]] = deque()
        self._answers: deque[tuple[Address, bytes]] = deque()
        self._reports: set[Future[bytes]] = set()
        self._is_stopping = False
        self._reader: ThreadPoolExecutor | None = None  # made for the first report
        self._thread = threading.Thread(target=self._run, name="requests")

    # --- called by the loop -----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read. From here on the socket belongs to this thread."""
        self._thread.start()

    def requests(self, at_most: int) -> Iterator[tuple[Address, Request]]:
        """Those that wait for the loop. Answer each with ``reply``."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wakeup)
        for _ in range(at_most):
            if not self._for_loop:
                return
            yield self._for_loop.popleft()
        if self._for_loop:
            os.eventfd_write(self.wakeup, 1)

    def reply(self, address: Address, payload: bytes) -> None:
        """Send an answer. What it says has to be committed."""
        self._answers.append((address, payload))
        os.eventfd_write(self._answered, 1)

    def stop(self) -> None:
        """Send the answers that are ready, and read no more requests."""
        self._is_stopping = True
        os.eventfd_write(self._answered, 1)
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Stop, wait for the report in progress, and close. Reports that wait are not begun."""
        self.stop()
        if self._reader is not None:
            for report in list(self._reports):
                report.cancel()
            self._reader.submit(models.database.close)
            self._reader.shutdown()
        self._socket.close()
        os.close(self._answered)
        os.close(self.wakeup)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            _connect_reader()
            poller = zmq.Poller()
            for source in (self._answered, self._socket):
                poller.register(source, zmq.POLLIN)
            while not self._is_stopping:
                poller.poll()
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._answered)
                self._send_answers()
                self._receive()
            self._send_answers()
            models.database.close()
        except BaseException as exc:  # noqa: BLE001 - raised on the daemon's thread
            self._fail(exc)

    def _receive(self) -> None:
        """Serve the requests that have arrived, each before the next one is read."""
        with contextlib.suppress(zmq.Again):
            for _ in range(PER_TURN_MAX):
                self._serve(self._socket.recv_multipart(zmq.DONTWAIT))

    def _serve(self, frames: list[bytes]) -> None:
        if len(frames) != 3:
            log.warning("request ignored", frames=len(frames))
            return
        address, payload = frames[:2], frames[2]
        try:
            request = decode_request(payload)
        except WireError as exc:
            self._send(address, encode_reply(Reply(error=("bad_request", str(exc)))))
            return
        at_once = self._at_once.get(request.method)
        if at_once is not None:
            self._send(address, answer(at_once, request))
        elif request.method in self._report_handlers:
            self._report(address, request)
        elif len(self._for_loop) >= LOOP_WAITING_MAX:
            self._send(address, encode_reply(Reply(error=("busy", "too many requests wait"))))
        else:
            self._for_loop.append((address, request))
            os.eventfd_write(self.wakeup, 1)

    def _report(self, address: Address, request: Request) -> None:
        if len(self._reports) >= REPORTS_WAITING_MAX:
            self._send(address, encode_reply(Reply(error=("busy", "too many reports wait"))))
            return
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "reader")
        report = self._reader.submit(_tell, self._report_handlers[request.method], request)
        self._reports.add(report)

        def done(future: Future[bytes]) -> None:
            self._reports.discard(future)
            if future.cancelled():
                return
            failed = future.exception()
            if failed is not None:
                self._fail(failed)
            unread = encode_reply(Reply(error=("internal", "the database cannot be read")))
            self.reply(address, unread if failed is not None else future.result())

        report.add_done_callback(done)

    def _send_answers(self) -> None:
        while self._answers:
            self._send(*self._answers.popleft())

    def _send(self, address: Address, payload: bytes) -> None:
        # ROUTER drops the answer to a caller that is gone; one that does not read loses it here.
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart([*address, payload], zmq.DONTWAIT)

    def _fail(self, failure: BaseException) -> None:
        self.failure = failure
        os.eventfd_write(self.wakeup, 1)


def _tell(handler: Answer, request: Request) -> bytes:
    """Answer a report on the reader thread, which connects for its first one."""
    if models.database.is_closed():
        _connect_reader()
    return answer(handler, request)


def _connect_reader() -> None:
    """Give this thread a connection of its own that cannot write."""
    models.database.connect(reuse_if_open=True)
    models.database.execute_sql("PRAGMA query_only = 1")
