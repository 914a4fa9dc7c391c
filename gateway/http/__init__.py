"""Plain HTTP as a format: requests that ask for no WebSocket, and all answers before an upgrade.

``exchange``  one request in any pieces and the answer to it; h11 knows the format
``answers``   whole answers and downloads
``refusals``  JSON errors with their status and code: ``{"error": {"type", "code", "message"}}``
``bodies``    JSON objects of requests, read strictly
``cors``      what lets a page of another origin ask

Called by every room that answers or refuses a client. All of it is pure: bytes and values in,
bytes and values out. It promises that an answer never holds a key.
"""
