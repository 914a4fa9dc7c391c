"""Meters of the OpenAI family: OpenAI Realtime, Azure OpenAI, xAI, GPT-Live, translations.

``meter``                    responses and transcriptions; the others build on it
``gpt_live``                 GPT-Live: seconds, and what other models did for it
``translation``              translation sessions
``call_meter``               calls (WebRTC, SIP), whose audio does not pass here
``observer``                 sockets that hear what another connection is charged for
``events``                   which events matter, found without parsing
``usage``, ``charges``       usage objects, in tokens or seconds; each is charged once
``audio``, ``questions``     how long a client's audio is; what it asked and has no answer to yet
``billed_seconds``           what is billed by the second
``transcripts``, ``images``  what transcriptions and a tool's images cost
``cancel``                   how a response is cancelled, and how that is answered

All of it is pure. Sources: the ``openai`` SDK's types; xAI's and Azure's differences stand beside
what they change.
"""
