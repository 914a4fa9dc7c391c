"""The providers, simulated: what they send, when, what they bill, and how they fail. For tests.

``cli``, ``server``                         the command; the sockets, and the logs of usage
``routing``, ``admission``, ``plain_http``  which provider a URL means; whether it accepts
``faults``, ``session_effects``, ``wire``   what a test may ask for; logs; frames and spelling
``session``, ``responses``                  OpenAI Realtime, and its responses one at a time
``reply``, ``generation``, ``recall``       one response: events, pace, end; all that was said
``conversation``, ``tokens``, ``charges``   its items; their tokens; what a meter must charge
``transcription``, ``audio``                transcripts of the user's audio; its formats
``openai_events``, ``client_events``, ``openai_fields``  the shapes of events, as tables
``dialect``, ``beta_dialect``, ``xai``      how the beta and xAI differ from OpenAI GA
``live_session``, ``translation_session``   GPT-Live; translations
``call_api``, ``calls``                     WebRTC and SIP calls, with a simulated caller
``gemini_session``, ``gemini_transcriber``  Gemini Live; its model that only transcribes
``gemini_client``, ``gemini_fields``, ``gemini_errors``  its client's messages; what it refuses
``gemini_turns``, ``gemini_turn``, ``gemini_frames``     turns one at a time; the server's messages
``gemini_items``, ``resumable_conversations``  its conversation; what another session may continue
"""
