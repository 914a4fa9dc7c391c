"""Requests about providers. Runs on the daemon's one writing thread.

Gateways report theirs and learn which are drained; ``accountctl providers`` reads it together,
``drain`` and ``resume`` change it. A drain is stored before it is answered, and holds until it is
taken back, over restarts and for gateways that come later.
"""

import time
from typing import Any, Final

import structlog

from accountd.clock import now_iso
from accountd.data import models
from accountd.fleet.gateways import Gateways
from accountd.request_params import Json, Params, RequestError
from accountd.times import ms_of_iso
from shared.metrics import Metric
from shared.provider_reports import NAME_CHARS_MAX, GatewayReport

log = structlog.get_logger()

_READ: Final = "SELECT provider, drained_at FROM drained_providers"
_DRAIN: Final = (
    "INSERT INTO drained_providers (provider, drained_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
)
_RESUME: Final = "DELETE FROM drained_providers WHERE provider = ?"
DRAINED_MAX: Final = 100


class Providers:
    """What gateways report, and the drained providers."""

    def __init__(self, connection: Any) -> None:
        """``connection`` is the daemon's writing connection."""
        self._connection = connection
        self._gateways = Gateways()
        self._drained_at: dict[str, str] = dict(connection.execute(_READ).fetchall())

    def metrics(self) -> list[Metric]:
        """The numbers of this boot, for ``/metrics``."""
        return [
            Metric(
                "rts_accountd_gateways", "gauge",
                "Gateways that reported their providers in the last seconds.",
                lambda: self._gateways.count(now=time.monotonic()),
            ),
            Metric(
                "rts_accountd_providers_drained", "gauge",
                "Providers that an operator took out of service.",
                lambda: len(self._drained_at),
            ),
        ]  # fmt: skip

    def report(self, params: Params) -> Json:
        """A gateway's report; the answer is which providers are drained."""
        self._gateways.heard(params.struct(GatewayReport), now=time.monotonic())
        return {"drained": sorted(self._drained_at)}

    def overview(self, _params: Params) -> Json:
        """All providers that gateways have, or that are drained."""
        now = time.monotonic()
        return {
            "gateways": self._gateways.count(now=now),
            "providers": list(self._rows(now).values()),
        }

    def drain(self, params: Params) -> Json:
        """Take a provider out of service. With ``force`` one that no gateway has, too."""
        name, now = params.text("provider"), time.monotonic()
        known = self._gateways.providers(now=now) | self._drained_at.keys()
        if name not in known and not params.flag("force"):
            expected = ", ".join(sorted(known)) or "none: no gateway has reported yet"
            raise RequestError(
                "not_found",
                f"no gateway has a provider {name!r}; known are: {expected}"
                " (--force drains it all the same)",
            )
        if name not in known:
            params.new_id("provider")
        is_new = name not in self._drained_at
        if is_new and (len(self._drained_at) >= DRAINED_MAX or len(name) > NAME_CHARS_MAX):
            raise RequestError(
                "bad_request",
                f"provider: expected at most {NAME_CHARS_MAX} characters,"
                f" and {DRAINED_MAX} drained providers",
            )
        if is_new:
            drained_at = now_iso()
            self._write(_DRAIN, (name, drained_at))
            self._drained_at[name] = drained_at
            log.warning("provider drained", provider=name)
        return {**self._rows(now)[name], "changed": is_new}

    def resume(self, params: Params) -> Json:
        """Put a drained provider into service again."""
        name = params.text("provider")
        if name not in self._drained_at:
            drained = ", ".join(sorted(self._drained_at)) or "none"
            raise RequestError("not_found", f"{name!r} is not drained; drained are: {drained}")
        self._write(_RESUME, (name,))
        drained_at = self._drained_at.pop(name)
        log.info("provider resumed", provider=name, drained_at=drained_at)
        return {"provider": name, "was_drained_at": drained_at}

    def _write(self, statement: str, values: tuple[str, ...]) -> None:
        with models.database.atomic("IMMEDIATE"):
            self._connection.execute(statement, values)

    def _rows(self, now: float) -> dict[str, Json]:
        now_ms = ms_of_iso(now_iso())
        return self._gateways.overview(self._drained_at, now=now, now_ms=now_ms)
