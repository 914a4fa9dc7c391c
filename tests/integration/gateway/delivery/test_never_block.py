"""Voice sessions do not slow down while accountd is away."""

import asyncio

from bench.never_block import Phase, Recorder, charged_tokens, talk_through
from bench.voice import connect, provide
from tests.support.harness import cluster_folder

SESSIONS, STOPPED_S = 20, 5.0


async def test_voice_goes_on_while_accountd_is_stopped() -> None:
    """Five seconds of SIGSTOP: every frame comes back, no session closes, every token is charged.

    How much later frames come is measured by ``bench.never_block``, on a quiet machine.
    """
    ledger: dict[str, int] = {}
    recorder = Recorder()
    server, provider = await provide(ledger)
    with cluster_folder() as cluster:
        cluster.env["OPENAI_BASE_URL"] = f"http://{provider}/v1"
        cluster.start_accountd()
        await asyncio.to_thread(cluster.start_gateway)
        key = cluster.create_account("acct")
        target = f"/v1/realtime?model=gpt-realtime&rs_key={key}"
        voices = [await connect(cluster.address, target, recorder.note) for _ in range(SESSIONS)]
        phase = Phase("accountd stopped", is_stopped=True)
        await talk_through(voices, recorder, [phase], cluster, STOPPED_S)
        assert all(voice.is_open for voice in voices)
        assert len(phase.trips) > SESSIONS * STOPPED_S, "the voices mean to talk meanwhile"
        assert phase.answered_within > 0.5 * len(phase.trips), "and to be heard meanwhile"
        for voice in voices:
            assert voice.unanswered == 0
            voice.leave()
        reported = sum(ledger.values())
        assert await asyncio.to_thread(charged_tokens, cluster, "acct", reported) == reported > 0
        assert cluster.audit()["ok"]
        for voice in voices:
            assert voice.transport is not None
            voice.transport.close()
    server.close()
    await server.wait_closed()
