"""A client that speaks OpenAI's protocol (GA), and a provider that speaks Gemini Live's.

``translator``       the ``Translator``: when a message is read, and by whom
``client_events``    what an event of the client does; ``client_audio``, ``client_items`` as well
``server_messages``  what a message of the provider becomes
``state``            what both directions work on
``link``, ``turn``   how far the provider's connection, and its answer, have come: tables
``configuration``    what a client may configure; ``session_fields``, ``response_params``: how
``setup``            the session as Gemini's ``setup``
``contents``         items of the conversation as Gemini's contents
``answers``          what the model was not told yet, and how it is asked
``calls``            functions' calls, and the outputs that are due
``speech``           the user's audio, and the item that it becomes
``response``         a response while it comes
``items``, ``events``  the order of all items; the writing of events
``audio_shapes``     audio taken out of a message without parsing it
``reading``, ``refusals``  JSON of a peer, and why an event is refused
"""
