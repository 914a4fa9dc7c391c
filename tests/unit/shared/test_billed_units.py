"""What the providers bill for, held to the example card."""

import pytest

from shared.billed_units import BILLED_MODELS, BilledModel
from shared.rate_card import read_rates
from shared.rates import Rates
from tests.support.paths import EXAMPLE_RATES as EXAMPLE


@pytest.mark.parametrize("one", BILLED_MODELS, ids=lambda one: f"{one.provider}-{one.model}")
def test_the_example_prices_every_unit_of_every_known_model(one: BilledModel) -> None:
    """By an entry of the model's own, not by the last one, which prices everything else."""
    card = read_rates(EXAMPLE.read_bytes())
    own = Rates("own", card.entries[:-1])
    assert [unit for unit in one.units if not card.names(one.provider, one.model, unit)] == []
    assert [unit for unit in one.units if not own.names(one.provider, one.model, unit)] == []
