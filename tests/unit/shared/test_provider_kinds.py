"""What the name of a provider says."""

import pytest

from shared.provider_kinds import KINDS, NAME_CHARS_MAX, is_further, kind_of

NAMES = [
    # a name; its kind; whether it can be one beside the first of its kind
    ("azure", "azure", False),
    ("azure-eu", "azure", True),
    ("openai-2", "openai", True),
    ("gemini-eu-west4", "gemini", True),
    ("xai-2", "xai", True),
    ("azure-EU", "azure", False),
    ("azure-", "azure", False),
    ("azure--eu", "azure", False),
    ("azure-e_u", "azure", False),
    ("azure-eu\n", "azure", False),
    ("azureeu", "azureeu", False),
    ("acme-azure", "acme-azure", False),
    ("", "", False),
    ("azure-" + "x" * (NAME_CHARS_MAX - 6), "azure", True),
    ("azure-" + "x" * (NAME_CHARS_MAX - 5), "azure", False),
]


@pytest.mark.parametrize(("name", "kind", "is_another"), NAMES)
def test_a_name_begins_with_its_kind(name: str, kind: str, is_another: bool) -> None:
    """What is of no kind is a kind of its own, and nothing is ever looked up for it."""
    assert (kind_of(name), is_further(name)) == (kind, is_another)


def test_each_kind_is_of_itself() -> None:
    """The first provider of a kind has its name."""
    assert [kind_of(kind) for kind in KINDS] == list(KINDS)
