"""Files, cameras, streams and synthetic pictures: what `nodes.capture` opens."""
