"""How long the sessions of each provider may last, as documented or as the operator knows."""

import re

import pytest

from gateway.door.allowed_models import read_table
from gateway.limits import IDLE_S
from gateway.providers.catalog import PROVIDER_NAMES
from gateway.providers.lifetimes import FINISHING_S, LIFETIMES, Lifetime, Lifetimes
from tests.support.paths import HAPROXY_CONFIG as HAPROXY

HOUR = 3_600.0
USUAL = Lifetimes()


def test_every_provider_has_a_lifetime() -> None:
    """For every model, whatever it is called; and no row is for nobody."""
    assert {name for name, _, _ in LIFETIMES} == PROVIDER_NAMES
    assert all(USUAL.seconds(name, "anything") >= HOUR for name in PROVIDER_NAMES)


def test_a_provider_without_a_row_is_a_bug() -> None:
    """It says which, instead of letting sessions last for ever."""
    with pytest.raises(AssertionError, match="no lifetime for acme"):
        USUAL.seconds("acme", "m")


OWN = """
[[lifetimes]]
provider = "azure"
model = "short*"
minutes = 1
[[lifetimes]]
provider = "azure"
minutes = 90
"""


def test_the_operator_may_know_better() -> None:
    """By provider and model; what is not said there is as before."""
    own = Lifetimes(read_table(OWN, providers=PROVIDER_NAMES).lifetimes)
    asked = [("azure", "short-1"), ("azure", "other"), ("openai", "short-1"), ("xai", "m")]
    assert [own.seconds(*which) for which in asked] == [70, 5_410, 3_610, 7_210]


WRONG = [
    ('lifetimes = 5', "lifetimes: expected entries that begin with [[lifetimes]]"),
    ('lifetimes = [5]', "lifetimes: expected entries that begin with [[lifetimes]]"),
    ('[lifetimes]\nminutes = 5', "lifetimes: expected entries that begin with [[lifetimes]]"),
    ('[[lifetimes]]\nminutes = 5', "lifetimes, entry 1: provider: found None, expected one of"),
    ('[[lifetimes]]\nprovider = "acme"\nminutes = 5', "found 'acme', expected one of "),
    ('[[lifetimes]]\nprovider = "xai"', "minutes: found None, expected an integer from 1 to 1440"),
    ('[[lifetimes]]\nprovider = "xai"\nminutes = 0', "minutes: found 0, expected"),
    ('[[lifetimes]]\nprovider = "xai"\nminutes = 1441', "minutes: found 1441, expected"),
    ('[[lifetimes]]\nprovider = "xai"\nminutes = 1.5', "minutes: found 1.5, expected"),
    ('[[lifetimes]]\nprovider = "xai"\nminutes = true', "minutes: found True, expected"),
    ('[[lifetimes]]\nprovider = "xai"\nminutes = 5\nmodel = ""', "model: found '', expected"),
    ('[[lifetimes]]\nprovider = "xai"\nminutes = 5\nmax = 1', "unknown key 'max', expected"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "complaint"), WRONG)
def test_a_wrong_lifetime_ends_the_start(text: str, complaint: str) -> None:
    """The line says what was found, and what was expected."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_table(text, providers=PROVIDER_NAMES)


def test_a_table_without_lifetimes_has_none() -> None:
    """And one with some has them in their order."""
    assert read_table("", providers=PROVIDER_NAMES).lifetimes == ()
    assert read_table(OWN, providers=PROVIDER_NAMES).lifetimes == (
        Lifetime("azure", "short*", 1),
        Lifetime("azure", "*", 90),
    )


def test_haproxy_cuts_no_session_that_we_would_let_last() -> None:
    """Neither with a new certificate, for which it is reloaded, nor because nobody speaks."""
    text = HAPROXY.read_text()
    found = {
        name: int(minutes) * 60
        for name, minutes in re.findall(r"^ +(hard-stop-after|timeout tunnel) (\d+)m$", text, re.M)
    }
    longest_s = max(USUAL.seconds(name, model.rstrip("*")) for name, model, _ in LIFETIMES)
    assert found["hard-stop-after"] > longest_s + FINISHING_S
    assert found["timeout tunnel"] > IDLE_S
