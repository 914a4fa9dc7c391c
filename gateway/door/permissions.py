"""What a key may use of what there is: models and providers. Pure.

A model has to be allowed twice: by the entry of the key's account in the models file
(``allowed_models``), and by the limits of key and account, which accountd has told. So may a
provider be, by those limits alone. Called by ``gatekeeper``, ``session_opener``, ``endpoints`` and
``calls``.
"""

from collections.abc import Callable, Collection

from gateway.accountd_client.authorizations import Authorization
from gateway.door.allowed_models import ModelTable
from gateway.http.refusals import Refusal, provider_not_allowed
from gateway.providers.base import Target
from shared.limits import allows_provider


def may_use_model(table: ModelTable, authorization: Authorization, model: str) -> bool:
    """Whether the key may use ``model``, by the name that clients give it; with an empty one:
    whether it may use any.
    """
    models = authorization.limits.models
    is_named = models is None or model in models
    return is_named and table.allows(authorization.account_id, model)


def may_use_provider(authorization: Authorization, provider: str) -> bool:
    """Whether the key may use the provider with this name."""
    return allows_provider(authorization.limits.providers, provider)


def refusal_of_provider(authorization: Authorization, target: Target) -> Refusal | None:
    """Why the key may not have ``target`` where it is served; None when it may, or when that is not
    known before its first message.
    """
    if target.is_undecided or may_use_provider(authorization, target.provider):
        return None
    return provider_not_allowed(target.provider, authorization.limits.providers or ())


def permitted(
    target: Target,
    authorization: Authorization,
    providers: Collection[str],
    lead: Callable[[Collection[str]], Target | Refusal],
) -> Target | Refusal:
    """``target`` where the key may have it: at its own provider, or else where ``lead`` finds it
    among those of ``providers`` that the key may use. One that is at its provider by a handle is
    nowhere else.
    """
    refusal = refusal_of_provider(authorization, target)
    if refusal is None:
        return target
    allowed = [name for name in providers if may_use_provider(authorization, name)]
    found = lead(allowed) if allowed and not target.handles else refusal
    return refusal if isinstance(found, Refusal) else found
