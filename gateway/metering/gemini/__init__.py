"""The meter of Gemini Live (Developer API and Vertex AI).

``meter``              charges turns: usage is a snapshot of the context, billed again every turn
``turn``               where a turn stands, and whether its usage is missing: states and tables
``events``             which messages matter, found without parsing; their two spellings
``client``             what the client asked for and the model has not begun to answer
``usage``              usage objects, and what beside them is billed by the piece
``transcribed_audio``  models that only transcribe: the audio that became words

All of it is pure. Source: the reference of ``BidiGenerateContent`` and the ``google-genai`` SDK.
"""
