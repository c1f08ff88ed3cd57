"""The place for your own model: a pair is every frame that every source captured in the same second."""

from framepair import subscribe

for pair in subscribe():
    for name, clip in pair.items():
        print(pair.index, name, len(clip), clip.missing or "complete", flush=True)
