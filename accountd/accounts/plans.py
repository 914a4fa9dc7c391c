"""Plans: how many subscription tokens each one gives. Pure.

They are configuration, ``ACCOUNTD_PLANS="Free=1000,Pro=50000"``, checked as a whole.
"""

from collections.abc import Mapping
from typing import Final

from accountd.request_params import AMOUNT_MAX, TEXT_CHARS_MAX, RequestError

DEFAULT_PLANS: Final = "Free=1000,Pro=50000,Enterprise=500000"

TokensByPlan = Mapping[str, int]


def parse_plans(text: str) -> TokensByPlan:
    """The plans in ``text``; raises one ``ValueError`` that lists all mistakes."""
    plans: dict[str, int] = {}
    mistakes: list[str] = []
    for entry in text.split(","):
        name, _, tokens = (part.strip() for part in entry.partition("="))
        mistake = _mistake(name, tokens, plans)
        if mistake:
            mistakes.append(f"{entry.strip()!r}: {mistake}")
        else:
            plans[name] = int(tokens)
    if mistakes:
        raise ValueError(f"expected NAME=TOKENS,NAME=TOKENS; {', '.join(mistakes)}")
    return plans


def tokens_of(plan: str, plans: TokensByPlan, *, otherwise: str) -> int:
    """The tokens of ``plan``, or ``RequestError``, which ends with what to do ``otherwise``."""
    if plan not in plans:
        message = f"plan_name: found {plan!r}, expected {', '.join(plans)}, or {otherwise}"
        raise RequestError("bad_request", message)
    return plans[plan]


def _mistake(name: str, tokens: str, plans: TokensByPlan) -> str:
    if not 0 < len(name) <= TEXT_CHARS_MAX or not name.isprintable():
        return f"the name needs 1 to {TEXT_CHARS_MAX} printable characters"
    if name in plans:
        return f"{name} is there twice"
    # isascii: int() reads other scripts' digits too, and isdecimal() agrees with it.
    if not (tokens.isascii() and tokens.isdecimal() and int(tokens) <= AMOUNT_MAX):
        return f"the tokens must be an integer from 0 to {AMOUNT_MAX}"
    return ""
