"""What the gateway knows of a conversation: to translate it, and to tell it to another provider.

``base``          what a translator is, and what it makes of a message
``conversation``  what was configured and said, in one form; ``resumption``: xAI has its own
``audio``         formats, base64, and a stream in one format that becomes one in another
``samples``       G.711 and the resampler: numpy, loaded for a conversion only
``schemas``       tools, and the schemas of their parameters
``voices``        which voice of a provider stands in for which of another
``usage``         usage objects; ``marks``: what says how long the user waits for an answer
``beta``          OpenAI's beta towards the client, GA behind: ``beta_events``, ``beta_fields``
``chain``         two translators as one: from the beta to Gemini
``kept``          the conversation of a session that is not translated, for its next provider
``kept_gemini``   the same of a Gemini client's session at Gemini
``to_gemini``     a client that speaks OpenAI's protocol, a provider that speaks Gemini's
``to_openai``     a client that speaks Gemini's protocol, a provider of the OpenAI family

Called by ``relay``. Where the protocols are the same ``kept`` or ``kept_gemini`` hear what is no
audio, and nothing is translated. All of it is pure. What maps to what: docs/SWITCH.md.
"""
