"""A program with google-genai that is configured by the environment alone, as an application is."""

import asyncio
import os

from google import genai

from clients.genai_python import hold

# GOOGLE_API_KEY, GOOGLE_GEMINI_BASE_URL and SSL_CERT_FILE are the SDK's own variables.
print(asyncio.run(hold(genai.Client(), os.environ["MODEL"])).to_json())
