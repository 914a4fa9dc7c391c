"""A client that speaks Gemini Live, a provider of the OpenAI family: OpenAI, Azure OpenAI, xAI.

``translator``         both directions, as the relay calls them
``client_side``        the client's messages, and what the provider is sent for them
``provider_side``      the provider's events, and what the client is sent for them
``state``              what both know
``turn``               a response at the provider, a turn towards the client
``settings``           ``setup`` as a session of OpenAI's
``content``            what is written, as items
``calls``              functions that were called and are not answered yet
``hearing``            the user's audio, and whether the model's is still played
``heard_words``        which words of the user the client has read
``record``, ``replay`` what is said as a conversation, and how another connection is told it;
                       ``replayed``: what of it the provider (xAI) has by itself
``audio_paths``        audio, found without decoding the message around it
``client_fields``      how a client's message is read, and what is wrong with it
``client_messages``    the messages for the client; ``provider_messages`` those for the provider
"""
