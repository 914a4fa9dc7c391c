"""Every bound of the gateway, each with its reason beside it. Pure."""

from typing import Final

# An input_audio_buffer.append may carry 15 MiB of audio (OpenAI's API reference): 20 MiB in base64,
# and room for what stands around it.
MESSAGE_BYTES_MAX: Final = 21 * 1024 * 1024

# Fragments of one message. The SDKs send messages whole. This many fragments of 256 bytes make the
# longest message; this many empty ones take 15 MB where they are queued.
FRAGMENTS_MAX: Final = MESSAGE_BYTES_MAX // 256

# Frames of one connection that are looked at before others have their turn: a fraction of a
# millisecond. A read of 256 KB may hold 40,000 pings. An SDK's read seldom has more than ten.
FRAMES_A_TURN: Final = 64

# Messages of clients that are not complete, of more than the second number each: 12 of the longest,
# in all of the process. Beyond that the one that began first is refused; an honest one is complete
# within seconds.
UNFINISHED_BYTES_MAX: Final = 256 * 1024 * 1024
UNFINISHED_LONG_BYTES: Final = 64 * 1024

# The SDKs give an opening handshake 10 s; a request above 16 KiB is not one of theirs.
HANDSHAKE_S: Final = 10.0
HANDSHAKE_BYTES_MAX: Final = 16 * 1024

# How long a client may take to name its model, where that decides who serves it: SDKs send the
# setup at once.
FIRST_MESSAGE_S: Final = 30.0

# Wrong keys of one address: a burst for a fleet that was given an old key, then one a second.
# Addresses of which that is remembered: 3 MB. The one heard of longest ago is forgotten first.
WRONG_KEYS_BURST: Final = 20
WRONG_KEY_S: Final = 1.0
CALLERS_KNOWN_MAX: Final = 10_000
# Connections of an address that has too many which are still heard, to be told so, and how long it
# is to wait then.
CROWDED_ANSWERS_MAX: Final = 16
CROWDED_RETRY_S: Final = 5

# Sessions that a key begins: its rate may be used in bursts of so many seconds' worth. Sessions
# with a name, where each puts out the one before: a burst for a bad network, then one a second.
# Keys, and sessions, of which that is remembered, 3 MB each.
KEY_BURST_S: Final = 10.0
SAME_SESSION_BURST: Final = 10
SAME_SESSION_S: Final = 1.0
KEYS_KNOWN_MAX: Final = 10_000

# Clients that were accepted and have no session: beyond so many, those that take their time (over
# their request, or over reading an answer) are cut, the one that came first first. An honest one is
# done within milliseconds.
PASSING_MAX: Final = 2_000
# And where no client can be accepted any more, those that take longer than this: others wait for
# their places. A telephone's handshake takes 300 ms with TLS.
PASSING_S: Final = 0.5

# What a client sends behind its request is read and dropped for a while: to close on unread bytes
# would reset the connection, and the client might not see its answer. So much of it.
LEFTOVER_BYTES_MAX: Final = 1024 * 1024

# How long a plain answer may take to be read whole: so long, and as long as it takes at this pace,
# which is that of the worst telephone. And a download, which is of any length.
ANSWER_READ_S: Final = 60.0
ANSWER_BYTES_PER_S: Final = 2_048
DOWNLOAD_READ_S: Final = 3_600.0

# The body of a plain HTTP request: a session's configuration with its instructions and tools.
BODY_BYTES_MAX: Final = 64 * 1024
# Each chunk and each header costs about 8 us, whatever its length. In chunks of one byte a body
# would take as long as 600 requests, and hold the event loop for half a second. What chunks have
# beside their data may take as much again as the body.
CHUNKS_MAX: Final = 1_024
HEADERS_MAX: Final = 128  # as websockets allows in a handshake

DIAL_S: Final = 10.0
# How long a provider may take to accept a session's configuration: as long as to be reached.
SETUP_S: Final = DIAL_S

# A provider's answer to a plain HTTP request: a session description, or why there is none.
PROVIDER_ANSWER_BYTES_MAX: Final = 256 * 1024

# How long a call goes on whose sideband broke, or could not be opened, before it is hung up: a
# provider that moves a connection is back within seconds, and usage in between is not metered.
CALL_UNHEARD_S: Final = 10.0
# Pauses between tries to open a sideband, or to hang up; they double up to the second number.
CALL_RETRY_S: Final = 0.25
CALL_RETRY_S_MAX: Final = 2.0
# How long a response that was streaming when a sideband broke counts as streaming: longer than any
# that was seen. After that its usage was sent in the gap.
CALL_DOUBT_S: Final = 60.0
# Between two rounds of tries to hang up a call whose provider does not do it.
CALL_STUCK_S: Final = 30.0

# What is kept of a client whose provider is not connected yet: about 15 s of 24 kHz audio. Past it
# the client's connection is paused; nothing is dropped.
PRE_OPEN_BYTES_MAX: Final = 1024 * 1024

# Sessions whose providers are being dialled and that may keep so much, with as much again in the
# connection's queue and a read beside each: 320 MiB in all. The clients of any further ones are not
# read until their providers are there, and nothing is dropped.
PRE_OPEN_SESSIONS_MAX: Final = 128
# Clients that have yet to name their model, each of whom holds as much: no more are let in.
UNDECIDED_MAX: Final = 128

# One connection's unsent bytes before reading from the other connection pauses: half a second of
# the fastest provider's audio, and small enough that 10,000 stalled sessions fit into memory.
WRITE_HIGH_WATER_BYTES: Final = 256 * 1024

# Bytes of one peer's frames that are queued while its connection is paused: 16 s of 24 kHz audio in
# base64, in which its pings are still answered. After that it is not read. A client of
# ``websockets`` gives up 40 s after its last pong; by then the other peer, which caused the pause,
# was cut (STALLED_S), and reading goes on.
RECEIVE_QUEUE_BYTES_MAX: Final = 1024 * 1024
# The same of all connections together: four minutes of a hundred sessions that lose their provider.
# Beyond that none of those that are paused is read, until a part of it is gone.
RECEIVE_QUEUES_BYTES_MAX: Final = 256 * 1024 * 1024
RECEIVE_QUEUES_BYTES_LOW: Final = 192 * 1024 * 1024
# What a queued frame takes in memory beside its bytes.
RECEIVE_QUEUE_FRAME_BYTES: Final = 200

# A peer that takes nothing for this long is gone: a live one reads at least at the pace of speech.
STALLED_S: Final = 30.0

# A ping every 30 s keeps middleboxes from forgetting a silent connection; a peer from which nothing
# came for 120 s, not even the pongs, is gone.
PING_S: Final = 30.0
IDLE_S: Final = 120.0

# A provider from which nothing comes while its client speaks is pinged sooner, and is gone when it
# sends nothing after that, not even the pong: nobody waits two minutes for an answer, and another
# connection can take over. SDKs that dial providers themselves wait 20 s for a pong.
ADDRESSED_PING_S: Final = 5.0
PONG_S: Final = 10.0

# How long a provider connection may outlive its client, to hear what the last response cost.
DRAIN_S: Final = 10.0

# And how long at most, while usage is certain to come or our cancel was not answered: providers
# were seen to report a cancelled response after most of a minute. No client waits for it, so the
# number of such connections is bounded: the oldest are closed first, and a gateway that stops
# keeps none.
LATE_ANSWER_S: Final = 60.0
LATE_DRAINS_MAX: Final = 500

# How long a session may be paused while accountd does not say whether any credit is left: longer
# than a restart of accountd, and no longer than SDKs wait for an answer.
CREDIT_WAIT_S: Final = 10.0
# And how long while a response is streaming, which is delivered whole: longer than any that was
# seen, and bounded, should one never end.
CREDIT_WAIT_STREAMING_S: Final = 120.0

# Where an account's credit pays no response for each of its sessions, they take turns
# (``credit.floor``). A session keeps its turn for so long without a response under way while others
# wait: longer than a user thinks. And where a response was asked for, or the user speaks, as long
# as a provider that is slow takes to begin; a session whose credit has ended waits as long for what
# it had asked.
FLOOR_IDLE_S: Final = 4.0
FLOOR_ASKED_S: Final = 10.0
# How long a client waits for its turn: who speaks to it has gone by then.
FLOOR_WAIT_S: Final = 60.0

# How long a provider that may have heard speech has to begin its answer, once the client is gone:
# Gemini begins within one or two seconds, and says nothing when it heard only noise.
ANSWER_S: Final = 3.0

# How long a peer may take to answer a close frame.
CLOSE_S: Final = 5.0

# How long a client may take to answer a close while it still sends, or reads what was sent before:
# it plays audio at the pace of speech, and half a minute of it may lie in the buffers on the way.
CATCH_UP_S: Final = 30.0

# How long a gateway that stops waits for its sessions: each may finish a response, then drain, then
# close. What is left is cut off, and charged as far as it was metered.
GATEWAY_DRAIN_S: Final = 2 * DRAIN_S + CLOSE_S

# A gateway that stops closes sessions without a response at this rate, and faster where that would
# take longer than DRAIN_S: their clients reconnect at once, and thousands in one second would be
# too much for the other gateways.
DEPARTURES_PER_S: Final = 200

# Usage is sent after so many responses, or so long after the first unsent one.
BATCH_RESPONSES: Final = 5
BATCH_S: Final = 30.0

# While an account's credit pays for fewer typical responses than this, each is sent at once: two
# batches' worth, so that no gateway is surprised by what others had not sent yet.
NEAR_EMPTY_RESPONSES: Final = 2 * BATCH_RESPONSES

# What a response is taken to cost, in credits, until one has cost more: half a minute of speech and
# what was said before, at a credit a token.
TYPICAL_RESPONSE_CREDITS: Final = 1_000

# Batches held while accountd is away: hours of a busy gateway, at most 100 MB.
OUTBOX_BATCHES_MAX: Final = 100_000
# Messages sent beyond the watermark: accountd commits far more in one round trip, and a resend of
# all of them is refused as duplicates within milliseconds.
UNACKNOWLEDGED_MAX: Final = 1_000
# How long the oldest unacknowledged message may wait for its watermark before everything from the
# watermark on is sent again: a commit takes milliseconds, a restart of accountd about a second. It
# doubles up to the second number; the jitter keeps a fleet of gateways from resending in step.
RESEND_S: Final = 1.0
RESEND_S_MAX: Final = 15.0
RESEND_JITTER: Final = 0.25
# Tries to read a message from the spool, with the same pauses, before it counts as lost: about a
# minute and a half. A disk that fails for a moment must not cost usage; one that fails for good
# must not block the messages behind.
LOAD_TRIES_MAX: Final = 10

# --- the spool -----------------------------------------------------------------------------------

# A segment is read whole on recovery, and removed as a whole once nothing in it is needed.
SEGMENT_BYTES_MAX: Final = 8 * 1024 * 1024
# A segment that is open for so long is closed, so that retention by age works in quiet times too.
SEGMENT_S_MAX: Final = 3_600.0
# Durable batches are kept so long, or so many bytes of them, to refill an accountd that lost them.
SPOOL_RETENTION_S: Final = 24 * 3_600.0
SPOOL_RETENTION_BYTES: Final = 256 * 1024 * 1024
# Reserved on the disk, so that usage that was noted can still be sealed, and so sent, when the disk
# is full: enough for some hundred sessions.
SPOOL_RESERVE_BYTES: Final = 256 * 1024

# Response ids remembered for recognising a repeated event; a session has far fewer responses.
RESPONSE_IDS_MAX: Final = 4_096

# While accountd is away, a key that it authorized less than this ago is admitted again: long enough
# for a restart, short enough for a revoked key.
AUTHORIZATION_CACHE_S_MAX: Final = 60.0
CACHED_AUTHORIZATIONS_MAX: Final = 10_000

# Handles of providers whose owner a gateway remembers, and how many of those accountd may not know
# yet: Gemini issues one with every turn, so this is an hour of a busy gateway, in 15 MB each.
HANDLES_KNOWN_MAX: Final = 100_000
HANDLES_WAITING_MAX: Final = 100_000

# Handles of live sessions, by which a session that is resumed here is found: its former connection
# is closed first. And how long the one that resumes it waits for the provider to answer that close
# before the former connection is cut.
RESUMABLES_MAX: Final = 100_000
FORMER_S: Final = 1.0

# Authorizations under way at once. Above that accountd does not keep up, and clients are refused.
AUTHORIZATIONS_MAX: Final = 1_000

# Requests under way at accountd, in all and by one key, so that sessions come first and one key
# leaves room for the others. Those for ephemeral keys are as short as a session's own; reports for
# consoles are read there one after the other.
MINTS: Final = 16
MINTS_EACH: Final = 4
REPORTS: Final = 4
REPORTS_EACH: Final = 2
# Requests of each kind including those that are queued, mostly for a few milliseconds: a server may
# want keys for a hundred browsers at once.
ASKING_MAX: Final = 1_000
ASKING_EACH_MAX: Final = 100

# CSV files under way, in all and by one key; each takes about 200 KB of memory.
DOWNLOADS: Final = 64
DOWNLOADS_EACH: Final = 4
# Unsent bytes of a file before more of it is made: about a page.
DOWNLOAD_HIGH_WATER_BYTES: Final = 64 * 1024
# And unsent bytes in the kernel beside them (TCP_NOTSENT_LOWAT).
UNSENT_BYTES_MAX: Final = 16 * 1024
# Tries to get the next page of a file, with pauses that double from the second number on: a restart
# of accountd takes about a second.
DOWNLOAD_TRIES_MAX: Final = 6
DOWNLOAD_PAUSE_S: Final = 0.25

# Keys that one gateway makes for the demo's page: a burst for a room full of people, then one a
# second, as pages need that lose their connection. Only programs want more.
DEMO_KEYS_BURST: Final = 60
DEMO_KEY_S: Final = 1.0

assert MINTS_EACH < MINTS < ASKING_EACH_MAX < ASKING_MAX
assert REPORTS_EACH < REPORTS < ASKING_EACH_MAX
assert MINTS + REPORTS < AUTHORIZATIONS_MAX
assert DOWNLOADS_EACH < DOWNLOADS
assert DOWNLOAD_HIGH_WATER_BYTES < WRITE_HIGH_WATER_BYTES
assert WRITE_HIGH_WATER_BYTES < RECEIVE_QUEUE_BYTES_MAX < MESSAGE_BYTES_MAX
assert WRITE_HIGH_WATER_BYTES < PRE_OPEN_BYTES_MAX < MESSAGE_BYTES_MAX
assert UNFINISHED_LONG_BYTES < MESSAGE_BYTES_MAX < UNFINISHED_BYTES_MAX
assert RECEIVE_QUEUE_BYTES_MAX < RECEIVE_QUEUES_BYTES_LOW < RECEIVE_QUEUES_BYTES_MAX
assert ANSWER_S < DRAIN_S
assert FORMER_S < CLOSE_S
assert CLOSE_S < CATCH_UP_S
assert CREDIT_WAIT_S < CREDIT_WAIT_STREAMING_S
assert FLOOR_IDLE_S < FLOOR_ASKED_S < FLOOR_WAIT_S < CREDIT_WAIT_STREAMING_S
assert STALLED_S < ANSWER_READ_S < DOWNLOAD_READ_S
assert PASSING_S < HANDSHAKE_S
assert DRAIN_S < LATE_ANSWER_S < IDLE_S
assert CLOSE_S <= DRAIN_S < STALLED_S <= PING_S < IDLE_S
assert ADDRESSED_PING_S + PONG_S < PING_S
assert RESEND_S < RESEND_S_MAX
assert HANDLES_WAITING_MAX <= HANDLES_KNOWN_MAX
assert UNACKNOWLEDGED_MAX < OUTBOX_BATCHES_MAX
assert 4 * SEGMENT_BYTES_MAX < SPOOL_RETENTION_BYTES
