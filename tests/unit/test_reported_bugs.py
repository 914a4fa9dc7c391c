"""Inputs that other gateways got wrong, by number, and the tests that hold ours to them.

Collected from public reports of 2025 and 2026. Numbers that are not here have no input, or are one
case of another number.
"""

import re
from typing import Final

import pytest

from tests.support.paths import TESTS

_DEFINED: Final = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)

REPORTS: Final = {
    1: ("streaming transcribers at no credits", (
        "test_a_minute_of_transcription_is_not_free_in_the_example",
        "test_usage_without_a_price_is_marked_counted_and_told")),
    2: ("seconds and tools of xAI", (
        "test_xai_tells_a_running_total", "test_tools_are_counted_by_the_piece")),
    3: ("streaming transcription without a commit", (
        "test_words_that_are_never_committed_are_owed",
        "test_what_is_uncommitted_is_committed_when_the_client_is_gone")),
    4: ("sessions of two hours", (
        "test_the_provider_decides_how_long_a_session_lasts",
        "test_a_session_is_announced_to_end_and_never_in_the_middle_of_a_response")),
    5: ("a transcriber of Gemini that reports nothing", (
        "test_a_transcriber_of_gemini_is_estimated_by_its_audio",)),
    6: ("resumption refused because the former socket lives", (
        "test_no_resumption_while_the_former_connection_is_there",
        "test_a_drain_ends_before_its_session_is_resumed")),
    7: ("a transcription without usage", ("test_a_transcription_without_usage_is_estimated",)),
    8: ("translations", ("test_a_translation_is_relayed_and_charged_by_what_was_said",)),
    9: ("prices of cached input by modality", (
        "test_each_modality_has_a_price_for_what_was_cached",)),
    10: ("attach, fork and calls", (
        "test_who_attaches_hears_and_pays_nothing", "test_a_fork_is_a_session_of_its_own",
        "test_a_call_is_charged_over_a_sideband_of_ours")),
    11: ("searches, cache writes, grounding", (
        "test_a_delegated_response_is_charged_its_searches_and_cache_writes",
        "test_searches_for_the_ground_of_an_answer_are_charged_by_query")),
    13: ("clients of xAI", ("test_a_browser_reaches_xai_as_xai_s_page_says",)),
    14: ("agents of Voice Live, and paths of others", (
        "test_an_agent_of_azure_brings_its_model",)),
    15: ("whose a call, a conversation, a session is; one charge for a response", (
        "test_a_call_belongs_to_its_account",
        "test_a_conversation_is_resumed_by_its_own_account_alone",
        "test_a_gemini_session_is_resumed_by_its_own_account_alone",
        "test_a_call_is_charged_once_that_two_gateways_hear")),
    16: ("refused for good", (
        "test_a_refusal_for_good_is_dialled_once_and_one_that_passes_until_it_has",
        "test_a_refusal_keeps_its_meaning_and_no_secret")),
    17: ("errors about our account", (
        "test_what_is_about_our_account_is_told_as_a_failing_provider",)),
    18: ("descriptors", (
        "test_a_client_is_served_or_refused_when_files_run_out",
        "test_a_crowd_at_once_is_served_or_refused")),
    19: ("the transcriber at the commit", ("test_the_transcriber_at_the_commit_is_billed",)),
    20: ("an intent beside a model", (
        "test_refuses_what_it_cannot_serve",
        "test_a_transcriber_is_named_before_anything_is_transcribed")),
    21: ("pings while a client is held", (
        "test_pings_are_answered_while_a_session_is_held_for_credit",
        "test_a_client_that_pings_every_second_survives_a_provider_that_is_slow")),
    23: ("everybody at once", ("test_departures_are_spread",)),
    24: ("a certificate behind haproxy", (
        "test_a_new_certificate_is_taken_without_cutting_a_call",
        "test_haproxy_cuts_no_session_that_we_would_let_last")),
    25: ("the write-ahead log after a long reader", (
        "test_commits_shrink_the_log_after_a_long_reader",)),
    27: ("a retry, and names that begin again", (
        "test_a_retry_charges_what_only_has_the_same_name",)),
    28: ("15 MiB of audio in one message", ("test_fifteen_mebibytes_of_audio_are_one_message",)),
    32: ("an address that goes nowhere", (
        "test_an_address_that_goes_nowhere_does_not_hold_up_the_next",)),
    33: ("proxies", ("test_each_provider_is_addressed_as_it_wants_to_be",)),
    34: ("a transcriber as a model of Azure's", ("test_a_transcriber_is_no_model_of_azure_s",)),
    35: ("the models of 2026 in the card", ("test_no_golden_session_is_free_or_unpriced",)),
    40: ("a turn that is cut in two", ("test_a_golden_session_costs_what_stands_beside_it",)),
    46: ("HTTP/2 in front", ("test_who_offers_http_2_is_answered_in_http_1",)),
    47: ("an ephemeral key limits the start", ("test_a_session_outlives_its_key",)),
}  # fmt: skip
LATER: Final = {
    26: "a command that makes a backup which counts",
    29: "a bound on sessions beside a small balance",
    30: "a cap of sessions for each account and each provider key",
}


@pytest.fixture(scope="module")
def defined() -> set[str]:
    """The names of all tests."""
    texts = (path.read_text() for path in TESTS.rglob("test_*.py"))
    return {name for text in texts for name in _DEFINED.findall(text)}


@pytest.mark.parametrize("number", REPORTS)
def test_a_reported_bug_has_its_tests(defined: set[str], number: int) -> None:
    """They are where the table says, whatever file they moved to."""
    _, names = REPORTS[number]
    assert [name for name in names if name not in defined] == []
    assert number not in LATER
