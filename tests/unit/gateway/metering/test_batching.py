"""When usage is sent, and what shares a batch."""

from msgspec.structs import replace

from gateway.limits import BATCH_S
from gateway.metering.base import Metered
from gateway.metering.batching import Batcher, BillingContext, MeteredResponse, Sealable, merge
from shared.usage import Kind, Usage, UsageBatch

SESSION = BillingContext("acct", "sess", "openai")


def single(number: int, model: str = "m", kind: Kind = Kind.RESPONSE) -> UsageBatch:
    """One response that cost ``number`` tokens."""
    metered = Metered(f"resp_{number}", model, Usage(total_tokens=number), kind=kind)
    return SESSION.as_batch(metered, wall_ms=number)


def add_all(open_batch: Batcher, count: int, now: float = 0.0) -> list[Sealable]:
    """The batches that are complete after ``count`` responses, noted under 1, 2, 3…"""
    return [
        b for i in range(count) for b in open_batch.add(MeteredResponse(single(i), i + 1), now=now)
    ]


def test_twenty_responses_make_four_batches() -> None:
    """Five responses fill a batch."""
    open_batch = Batcher()
    found = add_all(open_batch, 20)
    assert [batch.responses for batch, *_ in found] == [5, 5, 5, 5]
    assert [covers for _, covers, _ in found][:2] == [(1, 2, 3, 4, 5), (6, 7, 8, 9, 10)]
    assert open_batch.flush() == []


def test_the_end_of_a_session_flushes_the_rest() -> None:
    """Seven responses are a full batch and a rest of two."""
    open_batch = Batcher()
    found = [batch for batch, *_ in [*add_all(open_batch, 7), *open_batch.flush()]]
    assert [batch.responses for batch in found] == [5, 2]
    assert sum(batch.usage.total_tokens for batch in found) == sum(range(7))
    assert found[1].response_ids == ("resp_5", "resp_6")
    assert found[1].metered_at_ms == 6


def test_a_batch_is_due_half_a_minute_after_its_first_response() -> None:
    """A slow conversation is charged while it goes on."""
    open_batch = Batcher()
    assert open_batch.take_due(10**9) == []
    open_batch.add(MeteredResponse(single(1), 1), now=100.0)
    open_batch.add(MeteredResponse(single(2), 2), now=120.0)
    assert open_batch.take_due(100.0 + BATCH_S - 0.1) == []
    ((batch, covers, _),) = open_batch.take_due(100.0 + BATCH_S)
    assert (batch.responses, covers) == (2, (1, 2))


def test_each_model_has_its_own_batch() -> None:
    """When the provider changes the model, what each one used is sent apart."""
    open_batch = Batcher()
    assert open_batch.add(MeteredResponse(single(1, "first"), 1), now=0.0) == []
    assert open_batch.add(MeteredResponse(single(2, "second"), 2), now=0.0) == []
    assert [(b.model, covers) for b, covers, _ in open_batch.flush()] == [
        ("first", (1,)), ("second", (2,)),
    ]  # fmt: skip


def test_transcriptions_between_responses_do_not_break_up_batches() -> None:
    """Twenty turns, each with a transcription: four batches of each kind."""
    open_batch, complete = Batcher(), []
    for n in range(20):
        complete += open_batch.add(
            MeteredResponse(single(n, kind=Kind.TRANSCRIPTION), 2 * n + 1), now=0.0
        )
        complete += open_batch.add(MeteredResponse(single(n), 2 * n + 2), now=0.0)
    assert [batch.responses for batch, *_ in complete] == [5] * 8
    assert open_batch.flush() == []


def test_an_estimate_never_shares_a_batch_with_reported_usage() -> None:
    """The one is charged, the other is not."""
    open_batch = Batcher()
    open_batch.add(MeteredResponse(single(1), 1), now=0.0)
    open_batch.add(MeteredResponse(single(2, kind=Kind.ESTIMATE), 2), now=0.0)
    assert [b.kind for b, *_ in open_batch.flush()] == [Kind.RESPONSE, Kind.ESTIMATE]


def test_what_is_not_in_the_journal_never_shares_a_batch_with_what_is() -> None:
    """The first must be sent at once, the second must be sealed in the journal before."""
    open_batch = Batcher()
    open_batch.add(MeteredResponse(single(1), 7), now=0.0)
    open_batch.add(MeteredResponse(single(2), 0), now=0.0)
    assert [covers for _, covers, _ in open_batch.flush()] == [(7,), ()]


def test_merging_keeps_sessions_apart_and_batches_small() -> None:
    """What a killed gateway left behind is batched like everything else."""
    other = BillingContext("acct", "other", "openai").as_batch(
        Metered("resp_x", "m", Usage(total_tokens=1)), wall_ms=0
    )
    found = merge(
        [
            MeteredResponse(single(1), 1),
            MeteredResponse(other, 2),
            *(MeteredResponse(single(n), n) for n in range(3, 9)),
        ]
    )
    assert [(batch.session_id, covers) for batch, covers, _ in found] == [
        ("sess", (1, 3, 4, 5, 6)),
        ("sess", (7, 8)),
        ("other", (2,)),
    ]


def test_a_batch_costs_what_its_responses_cost() -> None:
    """What was added to an account's spending for each is what a batch takes out of it again."""
    open_batch = Batcher()
    found = [
        b
        for n in range(1, 8)
        for b in open_batch.add(MeteredResponse(single(n), n, 10 * n), now=0.0)
    ]
    assert [cost for *_, cost in [*found, *open_batch.flush()]] == [150, 130]


def test_what_other_sockets_report_too_is_sent_by_itself_at_once() -> None:
    """Of a sum nobody could say what was charged before; what is not shared goes on waiting."""
    shared = [replace(single(n), is_shared=True) for n in (1, 2)]
    open_batch = Batcher()
    assert open_batch.add(MeteredResponse(single(3), 3), now=0.0) == []
    for number, one in enumerate(shared, 1):
        assert open_batch.add(MeteredResponse(one, number), now=0.0) == [
            Sealable(one, (number,), 0)
        ]
    assert [covers for _, covers, _ in open_batch.flush()] == [(3,)]


def test_what_other_sockets_report_too_is_recovered_by_itself() -> None:
    """Even one that two sockets of the same session had heard."""
    shared = replace(single(1), is_shared=True)
    found = merge(
        [
            MeteredResponse(shared, 1),
            MeteredResponse(single(2), 2),
            MeteredResponse(shared, 3),
            MeteredResponse(single(4), 4),
        ]
    )
    assert sorted((covers, batch.is_shared) for batch, covers, _ in found) == [
        ((1,), True), ((2, 4), False), ((3,), True),
    ]  # fmt: skip
