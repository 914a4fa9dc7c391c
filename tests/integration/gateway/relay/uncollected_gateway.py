"""The real ``rts-gateway serve`` whose garbage collector is off.

On SIGUSR1 it writes the names of the types of what only a collector would have freed since the
start, a JSON list, to ``garbage.json`` in its folder.
"""

import asyncio
import gc
import json
import signal
from pathlib import Path

from gateway import app, cli
from gateway.config import GatewayConfig
from shared.errors import ExitCode

OURS = ("gateway", "shared", "websockets")


def report() -> None:
    """Collect, and write down what was found."""
    gc.collect()
    found = [type(one) for one in gc.garbage]
    names = sorted({f"{t.__module__}.{t.__name__}" for t in found if t.__module__.startswith(OURS)})
    Path("garbage.new").write_text(json.dumps(names))
    Path("garbage.new").rename("garbage.json")


async def run(config: GatewayConfig) -> ExitCode:
    """Serve without a collector."""
    gc.collect()  # what importing has left
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, report)
    return await serve(config)


if __name__ == "__main__":
    serve, app.run = app.run, run
    cli.main()
