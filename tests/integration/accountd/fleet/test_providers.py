"""Requests about providers: reports, drains, and what is kept of them."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from accountd.data import models
from accountd.fleet.providers import DRAINED_MAX, Providers
from accountd.request_params import Params, RequestError
from shared.provider_reports import GatewayReport, ProviderReport, ReportedHealth
from tests.support.database import empty_database


@pytest.fixture
def providers() -> Iterator[Providers]:
    """Of an empty database."""
    with empty_database() as database:
        yield Providers(database.connection())


def report(providers: Providers, *names: str) -> list[str]:
    """A gateway with these providers reports; what is drained."""
    found = [ProviderReport(name, ReportedHealth.HEALTHY) for name in names]
    params = msgspec.to_builtins(GatewayReport("gw", found))
    drained: list[str] = providers.report(Params(params))["drained"]
    return drained


def drain(providers: Providers, name: str, *, force: bool = False) -> Any:
    """The answer to a request."""
    return providers.drain(Params({"provider": name, "force": force}))


def resume(providers: Providers, name: str) -> Any:
    """The answer to a request."""
    return providers.resume(Params({"provider": name}))


def test_gateways_learn_of_a_drain_with_their_next_report(providers: Providers) -> None:
    """And of its end."""
    assert report(providers, "openai", "xai") == []
    assert drain(providers, "openai")["changed"]
    assert report(providers, "openai") == ["openai"]
    assert resume(providers, "openai")["was_drained_at"]
    assert report(providers, "openai") == []


def test_a_second_drain_changes_nothing(providers: Providers) -> None:
    """Nor when it began."""
    report(providers, "openai")
    first, second = drain(providers, "openai"), drain(providers, "openai")
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["drained_at"] == second["drained_at"]


def test_a_name_that_no_gateway_has_is_a_mistake_unless_forced(providers: Providers) -> None:
    """The error names those that there are."""
    with pytest.raises(RequestError, match="known are: none: no gateway has reported yet"):
        drain(providers, "openai")
    report(providers, "openai", "xai")
    with pytest.raises(RequestError, match="known are: openai, xai"):
        drain(providers, "opnai")
    assert drain(providers, "opnai", force=True)["gateways"] == 0
    assert not drain(providers, "opnai")["changed"], "it is known now"
    with pytest.raises(RequestError, match="'xai' is not drained; drained are: opnai"):
        resume(providers, "xai")


def test_drains_are_read_at_the_start(providers: Providers) -> None:
    """What is committed counts, whatever was reported."""
    drain(providers, "openai", force=True)
    drain(providers, "xai", force=True)
    resume(providers, "xai")
    later = Providers(models.database.connection())
    assert report(later, "openai") == ["openai"]
    metrics = {metric.name: metric.read() for metric in later.metrics()}
    assert metrics == {"rts_accountd_gateways": 1, "rts_accountd_providers_drained": 1}


def test_drains_are_bounded(providers: Providers) -> None:
    """A script that runs wild fills no message of every gateway."""
    for number in range(DRAINED_MAX):
        drain(providers, f"p{number}", force=True)
    for name in ("one-more", "x" * 65):
        with pytest.raises(RequestError, match="at most 64 characters, and 100 drained"):
            drain(providers, name, force=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"gateway": "", "providers": []},
        {"gateway": "gw", "providers": [{"name": "openai"}]},
        {"gateway": "gw", "providers": [{"name": "openai", "health": "fine"}]},
        {"gateway": "gw", "providers": [{"name": "openai", "health": "healthy", "sessions": -1}]},
        {"gateway": "gw", "providers": [{"name": 7, "health": "healthy"}]},
    ],
)
def test_a_report_that_cannot_be_read_is_refused(
    providers: Providers, wrong: dict[str, Any]
) -> None:
    """Nothing of it is kept."""
    with pytest.raises(RequestError):
        providers.report(Params(wrong))
    assert providers.overview(Params({})) == {"gateways": 0, "providers": []}


def test_fields_of_a_newer_gateway_are_ignored(providers: Providers) -> None:
    """So either side may be upgraded first."""
    newer = {"name": "openai", "health": "healthy", "mood": "good"}
    providers.report(Params({"gateway": "gw", "providers": [newer], "weather": "rain"}))
    assert providers.overview(Params({}))["gateways"] == 1
