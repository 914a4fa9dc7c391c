"""What a client is told, and what it reports."""

import base64
import json
from dataclasses import asdict, dataclass, field

from tests.support.speech import tone

TOOL = "get_weather"
ASK_TOOL = f"Call {TOOL} for Paris, please."  # the simulator calls the tool whose name it reads
ANSWER = '{"celsius": 21}'
ASK_STORY = "Tell me a long story."
SAID = tone(0.6)
PARAMETERS = {"type": "object", "properties": {"question": {"type": "string"}}}


@dataclass(frozen=True, slots=True)
class Where:
    """What an application configures: addresses, key, certificate; ``model`` names the client.

    ``provider`` is one that it asks for by name, or empty.
    """

    plain: str
    tls: str
    key: str
    ca: str
    model: str
    provider: str = ""

    def environment(self) -> dict[str, str]:
        """The same for a program."""
        return {
            "GATEWAY_URL": f"ws://{self.plain}",
            "GATEWAY_URL_TLS": f"wss://{self.tls}",
            "API_KEY": self.key,
            "CA_FILE": self.ca,
            "MODEL": self.model,
            "PROVIDER": self.provider,
            "SAID": base64.b64encode(SAID).decode(),
        }


@dataclass(slots=True)
class Outcome:
    """What a client lived through.

    ``heard`` is the answer to the spoken turn, ``tool`` the name of the function that it was asked
    to call, ``interrupted`` how the provider called the answer that was cut. ``words`` are what a
    client read that only listens. ``answers`` are the words of the answers to a tale (``tale.py``).
    """

    heard: bytes = b""
    tool: str = ""
    interrupted: str = ""
    words: str = ""
    answers: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """For a program's standard output."""
        return json.dumps({**asdict(self), "heard": base64.b64encode(self.heard).decode()})

    @classmethod
    def of(cls, text: str) -> "Outcome":
        """From a program's last line."""
        fields = json.loads(text.splitlines()[-1])
        return cls(
            heard=base64.b64decode(fields["heard"]),
            tool=fields["tool"],
            interrupted=fields["interrupted"],
            words=fields["words"],
            answers=fields.get("answers", []),
        )
