"""Every bound of the gateway, each with its reason beside it. Pure."""

from typing import Final

# An input_audio_buffer.append may carry 15 MiB of audio (OpenAI's API reference): 20 MiB in base64,
# and room for what stands around it.
MESSAGE_BYTES_MAX: Final = 21 * 1024 * 1024

# Fragments of one message. The SDKs send messages whole; this many of the shortest that make sense
# (256 bytes) are the longest message, and so many that are empty are 15 MB where they are kept.
FRAGMENTS_MAX: Final = MESSAGE_BYTES_MAX // 256

# The SDKs give an opening handshake 10 s; a request above 16 KiB is not one of theirs.
HANDSHAKE_S: Final = 10.0
HANDSHAKE_BYTES_MAX: Final = 16 * 1024

# The body of a plain HTTP request: a session's configuration with its instructions and tools.
BODY_BYTES_MAX: Final = 64 * 1024

DIAL_S: Final = 10.0

# A provider's answer to a plain HTTP request: a session description, or why there is none.
PROVIDER_ANSWER_BYTES_MAX: Final = 256 * 1024

# How long a call goes on whose sideband broke, or could not be opened, before it is hung up: a
# provider that moves a connection is back within seconds, and what is said meanwhile is not heard.
CALL_UNHEARD_S: Final = 10.0
# Pauses between the tries to hear it again, or to hang it up; they double up to the second number.
CALL_RETRY_S: Final = 0.25
CALL_RETRY_S_MAX: Final = 2.0
# How long what was being said when a sideband broke counts as being said: longer than a response
# that was seen. Then its usage went by in the gap.
CALL_DOUBT_S: Final = 60.0
# Between two rounds of tries to hang up a call whose provider does not do it.
CALL_STUCK_S: Final = 30.0

# What a client may say before its provider is there: about 15 s of 24 kHz audio. Past it reading
# from the client pauses, nothing is dropped.
PRE_OPEN_BYTES_MAX: Final = 1024 * 1024

# One connection's unsent bytes before reading from the other connection pauses: half a second of
# the fastest provider's audio, and small enough that 10,000 stalled sessions fit into memory.
WRITE_HIGH_WATER_BYTES: Final = 256 * 1024

# What of a peer's frames is kept while nobody may take them, so that its pings are heard: 16 s of
# 24 kHz audio in base64. A client of ``websockets`` pings after 20 s and gives up 20 s later, which
# is longer than STALLED_S from the last byte that is read. And what a frame costs beside its bytes.
RECEIVE_QUEUE_BYTES_MAX: Final = 1024 * 1024
RECEIVE_QUEUE_FRAME_BYTES: Final = 200

# A peer that takes nothing for this long is gone: a live one reads at least at the pace of speech.
STALLED_S: Final = 30.0

# A ping every 30 s keeps middleboxes from forgetting a silent connection; a peer from which nothing
# came for 120 s, not even the pongs, is gone.
PING_S: Final = 30.0
IDLE_S: Final = 120.0

# How long a provider connection may outlive its client, to hear what the last response cost.
DRAIN_S: Final = 10.0

# And how long at most, while it is known that something is to come or our cancel was not answered:
# providers were seen to report a cancelled response after most of a minute. Nobody waits for it; so
# many such connections are kept, the oldest go first, and a gateway that stops keeps none.
LATE_ANSWER_S: Final = 60.0
LATE_DRAINS_MAX: Final = 500

# How long a session may be held while accountd does not say whether any credit is left: longer than
# a restart, and as long as an SDK waits for an answer at least.
CREDIT_WAIT_S: Final = 10.0
# And how long while a response is being said, which is delivered whole: longer than any that was
# seen, and not for ever, should one never end.
CREDIT_WAIT_STREAMING_S: Final = 120.0

# How long a provider that may have heard speech has to begin its answer, once the client is gone:
# Gemini begins within one or two seconds, and says nothing when it heard only noise.
ANSWER_S: Final = 3.0

# How long a peer may take to answer a close frame.
CLOSE_S: Final = 5.0

# How long a client may take that still talks, or takes what was said before the close: it plays
# that at the pace of speech, and half a minute of it may lie in the buffers on the way.
CATCH_UP_S: Final = 30.0

# How long a gateway that was told to stop waits for its sessions: each may finish a response, then
# drain, then close. What is left is cut off, and charged as far as it is known.
GATEWAY_DRAIN_S: Final = 2 * DRAIN_S + CLOSE_S

# Sessions without a response are sent away at this rate, and faster where that would exceed
# DRAIN_S: they all connect again at once, and thousands in one second are too much for the others.
DEPARTURES_PER_S: Final = 200

# Usage is sent after so many responses, or so long after the first unsent one.
BATCH_RESPONSES: Final = 5
BATCH_S: Final = 30.0

# While an account's credit pays for fewer typical responses than this, each is sent at once: two
# batches' worth, so that no gateway is surprised by what others had not sent yet.
NEAR_EMPTY_RESPONSES: Final = 2 * BATCH_RESPONSES

# Batches held while accountd is away: hours of a busy gateway, at most 100 MB.
OUTBOX_BATCHES_MAX: Final = 100_000
# Messages sent beyond the watermark: accountd commits far more in one round trip, and a resend of
# all of them is refused as duplicates within milliseconds.
IN_FLIGHT_MAX: Final = 1_000
# How long the oldest message in flight may wait for its watermark before everything from the
# watermark on is sent again: a commit takes milliseconds, a restart of accountd about a second. It
# doubles up to the second number; the jitter keeps a fleet of gateways from resending in step.
RESEND_S: Final = 1.0
RESEND_S_MAX: Final = 15.0
RESEND_JITTER: Final = 0.25
# Tries to read a message from the spool, with the same pauses, before it counts as lost: about a
# minute and a half. A disk that fails for a moment must not cost usage; one that fails for good
# must not hold back what is behind.
LOAD_TRIES_MAX: Final = 10

# --- the spool -----------------------------------------------------------------------------------

# A segment is read whole on recovery; it is removed whole when nothing in it is needed any more.
SEGMENT_BYTES_MAX: Final = 8 * 1024 * 1024
# A segment that is open for so long is closed, so that retention by age works in quiet times too.
SEGMENT_S_MAX: Final = 3_600.0
# Durable batches are kept so long, or so many bytes of them, to refill an accountd that lost them.
SPOOL_RETENTION_S: Final = 24 * 3_600.0
SPOOL_RETENTION_BYTES: Final = 256 * 1024 * 1024
# Held back on the disk, so that what was noted can still be sealed, and so sent, when it is full:
# enough for some hundred sessions.
SPOOL_RESERVE_BYTES: Final = 256 * 1024

# Response ids remembered for recognising a repeated event; a session has far fewer responses.
RESPONSE_IDS_MAX: Final = 4_096

# While accountd is away, a key that it let in less than this ago is let in again: long enough for a
# restart, short enough for a revoked key.
GRANT_CACHE_S_MAX: Final = 60.0
GRANTS_MAX: Final = 10_000

# Handles of providers whose owner a gateway remembers, and of those, the ones that accountd is yet
# to hear of: Gemini gives one with every turn, so this is an hour of a busy gateway, in 15 MB each.
HANDLES_KNOWN_MAX: Final = 100_000
HANDLES_WAITING_MAX: Final = 100_000

# Handles of live sessions by which a session that is resumed here is found, so that its former
# connection is closed first; and how long the one that resumes it waits for the provider to answer
# that close, before the connection is cut.
RESUMABLES_MAX: Final = 100_000
FORMER_S: Final = 1.0

# Authorizations under way at once; more than that means that accountd does not keep up.
AUTHORIZATIONS_MAX: Final = 1_000

# Questions under way at accountd, in all and with one key: sessions come first, and who asks a lot
# leaves room for the others. For ephemeral keys they are as short as a session's own; reports of
# consoles are read there one after the other.
MINTS: Final = 16
MINTS_EACH: Final = 4
REPORTS: Final = 4
REPORTS_EACH: Final = 2
# Of each kind with those that wait for their turn, a few milliseconds mostly: a server may want
# keys for a hundred browsers at once.
ASKING_MAX: Final = 1_000
ASKING_EACH_MAX: Final = 100

# CSV files under way, in all and with one key; each holds about 200 KB.
DOWNLOADS: Final = 64
DOWNLOADS_EACH: Final = 4
# Unsent bytes of a file before more of it is made: about a page.
DOWNLOAD_HIGH_WATER_BYTES: Final = 64 * 1024
# And what the kernel holds of it before it takes more.
UNSENT_BYTES_MAX: Final = 16 * 1024
# Tries to go on with a file that was begun, with pauses that double from the second number on: a
# restart of accountd takes about a second.
DOWNLOAD_TRIES_MAX: Final = 6
DOWNLOAD_PAUSE_S: Final = 0.25

# Keys that one gateway makes for the demo's page: for a room full of people at once, and then as
# many as pages ask for that lose their connection. Whoever wants more than that is a program.
DEMO_KEYS_BURST: Final = 60
DEMO_KEY_S: Final = 1.0

assert MINTS_EACH < MINTS < ASKING_EACH_MAX < ASKING_MAX
assert REPORTS_EACH < REPORTS < ASKING_EACH_MAX
assert MINTS + REPORTS < AUTHORIZATIONS_MAX
assert DOWNLOADS_EACH < DOWNLOADS
assert DOWNLOAD_HIGH_WATER_BYTES < WRITE_HIGH_WATER_BYTES
assert WRITE_HIGH_WATER_BYTES < RECEIVE_QUEUE_BYTES_MAX < MESSAGE_BYTES_MAX
assert WRITE_HIGH_WATER_BYTES < PRE_OPEN_BYTES_MAX < MESSAGE_BYTES_MAX
assert ANSWER_S < DRAIN_S
assert FORMER_S < CLOSE_S
assert CLOSE_S < CATCH_UP_S
assert CREDIT_WAIT_S < CREDIT_WAIT_STREAMING_S
assert DRAIN_S < LATE_ANSWER_S < IDLE_S
assert CLOSE_S <= DRAIN_S < STALLED_S <= PING_S < IDLE_S
assert RESEND_S < RESEND_S_MAX
assert HANDLES_WAITING_MAX <= HANDLES_KNOWN_MAX
assert IN_FLIGHT_MAX < OUTBOX_BATCHES_MAX
assert 4 * SEGMENT_BYTES_MAX < SPOOL_RETENTION_BYTES
