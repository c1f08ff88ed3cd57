"""Open a recording in a notebook, where each `# %%` begins a cell, or as a program that is given its file."""

# %% What is in it: sources, and the topics of each.
import io
import itertools
import sys
from pathlib import Path

import av
import msgspec
from mcap.reader import make_reader

from framepair.protocol.recording import images

RECORDING = Path(sys.argv[1] if sys.argv[1:] else "lane/20261129T112509.123Z.mcap")
file = RECORDING.open("rb")
reader = make_reader(file)
summary = reader.get_summary()
if summary is None or summary.statistics is None:
    sys.exit(f"{RECORDING} was cut off, and has no index: framepair verify {RECORDING} --repair")
channels = summary.channels.values()
sources = sorted({c.metadata["source"] for c in channels if "source" in c.metadata})
print(", ".join(sources))

# %% The pairs: which are complete, and what the others lack.
pairs = [msgspec.json.decode(m.data) for _, _, m in reader.iter_messages(topics=["/pairs"])]
pairs = [pair for pair in pairs if pair["kind"] == "pair"]
print(f"{len(pairs)} pairs, {sum(pair['complete'] for pair in pairs)} complete")
for pair in pairs:
    for source, clip in pair["clips"].items():
        if clip["missing"] or clip["gaps"]:
            print(f"window {pair['window']}: {source}: {clip['gaps']} missing, {clip['missing']}")

# %% How regularly frames came: milliseconds between two of a source.
for source in sources:
    times = [m.log_time for _, _, m in reader.iter_messages(topics=[f"/{source}/image"])]
    gaps = [(late - early) / 1e6 for early, late in itertools.pairwise(times)]
    print(f"{source}: {len(times)} frames, {min(gaps):.1f} to {max(gaps):.1f} ms apart")

# %% Pictures of one moment: the first of each source from half a second after the beginning on.
moment_ns = summary.statistics.message_start_time + 500_000_000
pictures = {}
for source in sources:
    found = reader.iter_messages(topics=[f"/{source}/image"], starting_at=moment_ns)
    schema, _, message = next(found)
    image = images.decode(schema.name if schema else "", message.data)
    with av.open(io.BytesIO(image.data), "r") as opened:
        pictures[source] = next(opened.decode(video=0)).to_ndarray(format="rgb24")
    print(f"{source}: {pictures[source].shape} of {image.format} at {message.log_time} ns")
# In a notebook, with matplotlib: plt.imshow(pictures["left"])
file.close()
