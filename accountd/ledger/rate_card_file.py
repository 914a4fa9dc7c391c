"""The rate card in force: read from its file at the start, and anew on request."""

from pathlib import Path

import structlog

from accountd.request_params import Params
from shared.rate_card import CARD_BYTES_MAX, RateCardError, read_rates
from shared.rates import DEFAULT_RATES, Rates

log = structlog.get_logger()


class RateCardFile:
    """What usage is charged by. Without a ``path`` it is the built-in card, always."""

    def __init__(self, path: Path | None = None, rates: Rates = DEFAULT_RATES) -> None:
        self._path = path
        self.rates = rates

    def reload(self) -> None:
        """Read the file anew. One that cannot be used changes nothing, and is one line in the log.

        Rows name the version that they were charged by: other prices need another version.
        """
        if self._path is None:
            log.warning("no rate card to reload", hint="set ACCOUNTD_RATE_CARD and start again")
            return
        try:
            found = read_rate_card(self._path)
            if found.version == self.rates.version and found.entries != self.rates.entries:
                raise RateCardError(
                    f"version: found {found.version!r}, which is in force with other entries,"
                    " expected another one"
                )
        except ValueError as exc:
            log.error(
                "rate card not reloaded",
                file=str(self._path),
                detail=str(exc),
                hint=f"charging goes on by version {self.rates.version!r}",
            )
            return
        self.rates = found
        log.info("rate card loaded", version=found.version, entries=len(found.entries))

    def answer(self, _params: Params) -> dict[str, str]:
        """The card for gateways: its TOML, which is empty for the built-in card."""
        return {"version": self.rates.version, "text": self.rates.text}


def read_rate_card(path: Path) -> Rates:
    """The card in a file. Raises ``ValueError`` that says what is wrong, in one line."""
    try:
        with path.open("rb") as file:
            content = file.read(CARD_BYTES_MAX + 1)
    except OSError as exc:
        raise RateCardError(f"cannot read it: {exc.strerror}") from None
    return read_rates(content)
