"""The place for your own model: a pair is every frame that every source captured in the same second."""

from framepair import subscribe

for pair in subscribe():
    for name, clip in pair.items():
        state = "complete" if clip.complete else clip.missing or f"{clip.gaps} frames missing"
        print(pair.index, name, len(clip), state, flush=True)
