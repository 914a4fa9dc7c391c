"""A conversation that is kept beside the session in which it is held, for the next provider.

Where client and provider speak OpenAI's GA protocol nothing is translated. What they say of the
conversation is looked at, audio is not, and another connection is told it.

``keeping``         what a keeper is: ``kept_gemini`` has another one
``keeper``          both directions of one session: what to keep, to tell, and to withhold
``retelling``       what another provider is told, and which of its answers are to that
``resuming``        what xAI replays of its own conversation, and what is missing there
``responses``       what is open of responses, and how it is closed towards the client
``speech``          the user's items that are not complete yet, and how they are closed
``unanswered``      what the client said and the provider has not answered yet
``configuration``   what of a session's settings another provider can be told
``messages``        what a message is, found without parsing audio

Called by ``relay.kept_splice`` and by ``translate.beta``.
"""
