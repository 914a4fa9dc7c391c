"""What a session may do on its account's credit, and what it may finish first. Pure."""

from dataclasses import dataclass, field

from gateway.credit import Verdict


@dataclass(slots=True)
class Allowance:
    """Remembers what was being said when the credit began to allow what it allows."""

    verdict: Verdict = Verdict.GO
    _finishing: frozenset[str] = field(default=frozenset())

    def review(self, verdict: Verdict, being_said: frozenset[str]) -> bool:
        """Take what the credit allows now; whether something may be finished before that counts.

        What begins later is not waited for: responses that overlap would never end.
        """
        if verdict is not self.verdict:
            self.verdict, self._finishing = verdict, being_said
        return bool(self._finishing & being_said)
