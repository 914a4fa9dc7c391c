"""Where each provider is and how it is addressed. An adapter keeps no state of a session.

``catalog``             the providers that there are, with their settings
``base``                what an adapter tells: URL, headers, meter; which protocols there are
``openai``, ``gemini``  the adapters of the two families
``openai_calls``        where calls (WebRTC, SIP) are made and taken
``first_message``       which model a first message names
``first_message_gate``  whether that message, and what follows, may go on
``failure_events``      how a client hears that its session failed
``lifetimes``           how long a session may last
``health``              whether a provider serves, by what sessions see of it
``observations``        what they saw, for the operator

Called by ``door``, ``endpoints``, ``relay``, ``calls`` and ``server``. All of it is pure. To add a
provider: CONTRIBUTING.md.
"""
