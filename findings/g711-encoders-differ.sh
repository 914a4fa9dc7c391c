#!/usr/bin/env bash
# What: all 65,536 values of 16-bit sound, encoded as G.711 by CPython's audioop, by libsndfile and by ffmpeg.
# Guess: G.711 is a table. The three give the same bytes, which a test may compare.
# Seen (audioop of Python 3.11.7, soundfile 0.14.0, PyAV 18.1.0): they agree on the decoding only. Between any two some hundred
#   values have another byte, in mu-law and in A-law; between libsndfile and the others one in seven of the quiet values
#   (up to 300) in mu-law. The standard starts from 14 (13) bits, and they come there from 16 in different ways. In
#   mu-law audioop and ffmpeg make -8 of -1, libsndfile makes 0 of it: a noise of one bit comes out more
#   than five times as loud and below zero, or is gone.
# Why it matters: a recording of expected bytes fails with the next encoder; a detector of silence by bytes (ff, 7f) or by a
#   low level hears the same quiet line as silent or not, by who encoded it.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { echo "skipped: needs audioop, of Python up to 3.12"; exit 77; }
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check soundfile==0.14.0 av==18.1.0 'numpy>=2'
cat > "$dir/run.py" <<'PY'
import audioop, importlib.metadata, io, itertools, sys
import av, numpy, soundfile

SAMPLES = numpy.arange(-32_768, 32_768, dtype=numpy.int16)
QUIET = abs(SAMPLES.astype(int)) <= 300
LAWS = {"mu-law": ("ULAW", "pcm_mulaw", audioop.lin2ulaw, audioop.ulaw2lin), "A-law": ("ALAW", "pcm_alaw", audioop.lin2alaw, audioop.alaw2lin)}
EVERY_BYTE = bytes(range(256))


def of_libsndfile(subtype):
    encoded = io.BytesIO()
    soundfile.write(encoded, SAMPLES, 8_000, format="RAW", subtype=subtype)
    decoded, _ = soundfile.read(io.BytesIO(EVERY_BYTE), dtype="int16", format="RAW", subtype=subtype, samplerate=8_000, channels=1)
    return encoded.getvalue(), decoded


def of_ffmpeg(codec):
    encoder = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8_000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(SAMPLES.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8_000
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    decoded = decoder.decode(av.Packet(EVERY_BYTE))[0].to_ndarray().ravel()
    return b"".join(bytes(packet) for packet in encoder.encode(frame)), decoded


print("Python", sys.version.split()[0], *(f"{name} {importlib.metadata.version(name)}" for name in ("soundfile", "av")))
is_same = True
for law, (subtype, codec, encode, decode) in LAWS.items():
    by_audioop = encode(SAMPLES.tobytes(), 2), numpy.frombuffer(decode(EVERY_BYTE, 2), numpy.int16)
    coded = {"audioop": by_audioop, "libsndfile": of_libsndfile(subtype), "ffmpeg": of_ffmpeg(codec)}
    table = by_audioop[1]
    decodes_alike = all((decoded == table).all() for _, decoded in coded.values())
    is_same &= decodes_alike
    print(f"  {law}: all decode alike: {decodes_alike}")
    codes = {name: numpy.frombuffer(encoded, numpy.uint8) for name, (encoded, _) in coded.items()}
    for one, other in itertools.combinations(codes, 2):
        differs = codes[one] != codes[other]
        print(f"    {one} and {other}: {differs.sum()} values differ, {differs[QUIET].sum()} of the {QUIET.sum()} quiet ones")
        is_same &= bool(differs.sum() > 100)
    noise = {name: tuple(int(table[code[32_768 + value]]) for value in (-1, 0, 1)) for name, code in codes.items()}
    print(f"    what -1, 0 and 1 come back as: {noise}")
    if law == "mu-law":
        is_same &= noise == {"audioop": (-8, 0, 0), "libsndfile": (0, 0, 0), "ffmpeg": (-8, 0, 0)}
sys.exit(not is_same and "CHANGED: expected one decoding, and three encodings")
PY
"$dir/venv/bin/python" -W ignore "$dir/run.py"
