"""Meters of the OpenAI family: OpenAI Realtime, Azure OpenAI, xAI, GPT-Live, translations.

``meter``                            responses and transcriptions; the others build on it
``live``, ``translation``, ``call``  GPT-Live, translation sessions, calls (WebRTC, SIP)
``observer``                         sockets that hear what another connection is charged for
``events``                           which events matter, found without parsing
``usage``, ``charges``               usage objects, in tokens or in seconds; each charged once
``audio``, ``seconds``               how long a client's audio is; what is billed by the second
``transcripts``, ``images``          what transcriptions and a tool's images are owed
``cancel``                           how a response is cancelled, and how that is answered

All of it is pure. Sources: the ``openai`` SDK's types; xAI's and Azure's differences stand beside
what they change.
"""
