"""The conversation of a session of a Gemini client at Gemini, for the next connection to it.

``keeper``    both directions of one session: what to keep, to tell, and to withhold
``setup``     the client's setup, and what of it another connection is told
``turn``      how far the model's turn has come, and how it is closed towards the client
``talk``      what is said, as items of the conversation, and what a handle covers of them
``messages``  what a message is, found without parsing audio

Called by ``relay.kept_splice``.
"""
