"""A client whose provider is lost, and whose session goes on at one of another protocol."""

import asyncio
import json
import os
from typing import Any

from clients.programs import HERE, needs_node
from tests.support.genai_sessions import of_user
from tests.support.moving_world import books, world


async def test_the_javascript_sdk_goes_on_at_a_provider_of_another_protocol_and_back() -> None:
    """Its socket stays open, it hears no second ``setupComplete``, and each answer knows what was
    said before.
    """
    needs_node()
    async with world() as there:
        key = await asyncio.to_thread(there.cluster.create_account, "acct")
        program = await asyncio.create_subprocess_exec(
            "node", HERE / "node" / "genai_moves.mjs",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={
                "PATH": os.environ["PATH"], "GATEWAY_URL": f"ws://{there.cluster.address}",
                "API_KEY": key, "MODEL": "gemini-safe", "SAID": "",
            },
        )  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None

        async def answer(question: str) -> dict[str, Any]:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(f"{question}\n".encode())
            async with asyncio.timeout(30):
                found: dict[str, Any] = json.loads(await program.stdout.readline())
            return found

        try:
            await answer("first")
            there.move(away=there.gemini, back=there.openai)
            second = await answer("second")
            there.move(away=there.openai, back=there.gemini)
            third = await answer("third")
            program.stdin.close()
            async with asyncio.timeout(30):
                assert await program.wait() == 0
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()
        charged = await books(there)
    assert of_user(second["words"]) == ["first", "second"]
    assert of_user(third["words"]) == ["first", "second", "third"]
    assert second["audio"] > 0
    assert third["audio"] > 0
    assert "setupComplete" not in [*second["heard"], *third["heard"]]
    assert "sessionResumptionUpdate" in second["heard"], "its handles are taken back"
    assert set(charged) == {"gemini", "openai"}
