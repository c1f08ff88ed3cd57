"""Ways for a frame from one process to another, a file each."""
