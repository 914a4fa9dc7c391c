"""Who is let in, and to which session: from a request's head to an open session, or a refusal.

``routing``             which provider, model and session a request asks for (pure)
``crossing``            whether client and provider speak different protocols (pure)
``paths``, ``queries``  whose path it is, after any prefix; what of a query goes on (pure)
``client_key``          where in a request a key may stand; ``permissions``: what it may use (pure)
``admission``           whose key it is, and whether it may talk now
``allowed_models``      models, and who may use them; ``further_providers`` of one kind (both pure)
``ephemeral``           keys for browsers, which expire (pure); ``signing`` keeps their secrets
``gatekeeper``          whether a session may be opened now: all of the above in order
``first_message``       waits for it, where it decides which provider is dialled
``between``             what lies between client and provider; ``translators`` (pure): which one
``dialer``              dials its provider, or the next one that serves; notes which are healthy
``session_opener``      makes the session: provider, meter, credit; ``roster`` lists them
``provider_reports``    tells accountd of the providers; has sessions leave those that are drained

Called by ``server``, ``endpoints`` and ``calls``. It promises that a provider is dialled only for a
key that accountd knows, that no key is logged, and that a refusal says what to do.
"""
