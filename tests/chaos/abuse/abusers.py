"""The process of all abusers of one kind: ``python -m tests.chaos.abuse.abusers PLAN``.

``PLAN`` is a JSON object. A line on standard output says that all have begun; what is read on
standard input, and its end, ends the process.
"""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.chaos.abuse.scripts import SCRIPTS
from tests.chaos.abuse.wire import Place, Wire


@dataclass(frozen=True)
class Plan:
    """How many abusers follow each script; they come again where it ``is_repeated``."""

    crowds: dict[str, int]
    is_repeated: bool
    place: dict[str, Any]
    begun_s: float = 1.0
    """How long after the last came it is said that all have begun."""


class Abusers:
    """All of them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._place = Place(**plan.place)
        self._ends = Counter[str]()

    async def run(self) -> None:
        """Until standard input says something, or ends."""
        is_over = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, is_over.set)
        tasks = [
            asyncio.create_task(self._live(script, number))
            for script, count in self._plan.crowds.items()
            for number in range(count)
        ]
        done = asyncio.create_task(asyncio.wait(tasks))
        await asyncio.sleep(self._plan.begun_s)
        print("begun", flush=True)
        over = asyncio.create_task(is_over.wait())
        await asyncio.wait((done, over), return_when=asyncio.FIRST_COMPLETED)
        print("done", flush=True)
        await over
        for task in tasks:
            task.cancel()
        print(json.dumps(self._ends))

    async def _live(self, script: str, number: int) -> None:
        while True:
            wire = Wire(self._place)
            try:
                await SCRIPTS[script](wire, self._place, number)
                self._ends["ended"] += 1
            except (OSError, TimeoutError) as exc:
                self._ends[type(exc).__name__] += 1
            finally:
                with contextlib.suppress(OSError):
                    wire.close()
            if not self._plan.is_repeated:
                return
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(Abusers(Plan(**json.loads(sys.argv[1]))).run())
