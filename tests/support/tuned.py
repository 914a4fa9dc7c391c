"""The real ``rts-gateway`` or ``accountd`` with other constants, for tests of bounds.

``python tests/support/tuned.py gateway serve`` reads the constants from ``TUNED_CONSTANTS``, a JSON
object from their full name to their value, and starts the command. Nothing but constants is
different. A name that is no longer there, a value of another type, or a constant that was compiled
into a module ends the program at once, so that no test goes on with the usual bound. The harness
asks for the last before (``compiled_in``), and skips the test.

``gateway.limits`` and ``shared.zmq_sockets`` come first: other modules copy their constants when
they are imported.
"""

import ast
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway import build

PROGRAM: Final = Path(__file__)
VARIABLE: Final = "TUNED_CONSTANTS"
_FIRST: Final = ("gateway.limits.", "shared.zmq_sockets.")

Constants = Mapping[str, float]


# Estimates come within seconds: a late answer is heard for as long as ever, or no longer either.
SHORT_DRAIN_S: Final = 4.0  # longer than ``ANSWER_S``, as it has to be
SHORT_DRAIN: Final = {"gateway.limits.DRAIN_S": SHORT_DRAIN_S}
NO_LATE_ANSWERS: Final = {**SHORT_DRAIN, "gateway.limits.LATE_ANSWER_S": SHORT_DRAIN_S}
# One provider at most is heard for a late answer: late is half a second after its client left.
ONE_LATE_DRAIN: Final = {
    "gateway.relay.provider_drain.DRAIN_S": 0.5,
    "gateway.session_registry.LATE_DRAINS_MAX": 1,
}
# A connection that ends within seconds all the same did not end because its time was over.
LONG_DRAIN: Final = {
    "gateway.metering.gemini.meter.ANSWER_S": 300.0,
    "gateway.metering.gemini.meter.DRAIN_S": 600.0,
    "gateway.relay.provider_drain.DRAIN_S": 600.0,
    "gateway.relay.provider_drain.LATE_ANSWER_S": 600.0,
}
# What is sent again within seconds all the same was not sent for being overdue.
LATE_RESENDS: Final = {
    "gateway.delivery.outbox.RESEND_S": 300.0,
    "gateway.delivery.outbox.RESEND_S_MAX": 600.0,
}
# A minute is a twentieth of a second: OpenAI's sessions end after 3 s, those of xAI after 6 s.
SHORT_SESSIONS: Final = {
    "gateway.providers.lifetimes.MINUTE_S": 1 / 20,
    "gateway.providers.lifetimes.GRACE_S": 0.0,
    "gateway.providers.lifetimes.WARNING_S": 2.0,
}
SMALL_OUTBOX: Final = {"gateway.delivery.usage_sender.OUTBOX_BATCHES_MAX": 3}
# Retention is seen soon.
PRUNE_S: Final = 0.5
SMALL_SEGMENTS: Final = {
    "gateway.delivery.journal.SEGMENT_BYTES_MAX": 2_000,
    "gateway.delivery.spool_manager.PRUNE_S": PRUNE_S,
}
# Who waits for an accountd that is away knows it soon, and a session that it holds ends soon.
SOON_AWAY: Final = {"shared.zmq_sockets.RPC_DEADLINE_S": 2.0}
SHORT_CREDIT_WAIT_S: Final = 2.0
SHORT_CREDIT_WAIT: Final = {"gateway.limits.CREDIT_WAIT_S": SHORT_CREDIT_WAIT_S}
SHORT_FLOOR_WAIT: Final = {"gateway.relay.client_side.FLOOR_WAIT_S": 0.5}
SHORT_FLOOR: Final = {**SHORT_FLOOR_WAIT, "gateway.credit.floors.FLOOR_IDLE_S": 0.0}
SHORT_HANDSHAKE: Final = {"gateway.limits.HANDSHAKE_S": 1.0}
SHORT_CALL_UNHEARD: Final = {"gateway.limits.CALL_UNHEARD_S": 2.0}
# A gateway that is heard no more has no sessions soon.
SHORT_LEASE_S: Final = 3.0
SHORT_LEASE: Final = {"accountd.accounts.leases.LEASE_S": SHORT_LEASE_S}
# A journal that could not be written is tried again soon.
SOON_REOPENED: Final = {"accountd.maintenance.custody.REOPEN_S": 0.5}
# However slow accountd is, or the receiver of its warnings, nothing is given up.
PATIENT_RPC: Final = {"shared.zmq_sockets.RPC_DEADLINE_S": 300.0}
PATIENT_WEBHOOK: Final = {"accountd.notifications.webhook.TIMEOUT_S": 300.0}


def environment(constants: Constants) -> dict[str, str]:
    """What tells the program its ``constants``: ``{"gateway.limits.DRAIN_S": 0.5}``."""
    return {VARIABLE: json.dumps(dict(constants))}


def compiled_in(constants: Constants, package: Path = build.HERE) -> list[str]:
    """Those ``constants`` whose value some compiled module of ``package`` has for good: its own
    ones, and those that it imports. None where Python runs.
    """
    fixed: set[str] = set()
    modules = build.compiled_modules(package)
    for name in modules:
        source = package.parent / f"{name.replace('.', '/')}.py"
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                fixed |= {f"{node.module}.{x.name}" for x in node.names}
            elif isinstance(node, ast.Import):
                fixed |= {x.name for x in node.names}
    # Its own, by its name; one that is looked up in a module that it imports, by that one's.
    fixed |= modules
    return sorted(x for x in constants if x in fixed or x.rpartition(".")[0] in fixed)


def tune(constants: Constants) -> None:
    """Set each constant in its module, and in this order nowhere else."""
    assert not (fixed := compiled_in(constants)), f"compiled in: {', '.join(fixed)}"
    for name in sorted(constants, key=lambda name: not name.startswith(_FIRST)):
        module_name, _, attribute = name.rpartition(".")
        module = importlib.import_module(module_name)
        before, value = getattr(module, attribute), constants[name]
        assert isinstance(before, int | float), f"{name} is no number: {before!r}"
        setattr(module, attribute, type(before)(value))


if __name__ == "__main__":
    tune(json.loads(os.environ[VARIABLE]))
    package = sys.argv.pop(1)
    importlib.import_module(f"{package}.cli").main()
