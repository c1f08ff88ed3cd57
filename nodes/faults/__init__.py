"""Faults on purpose, to see how a pipeline and one's own consumer behave when a camera or a node fails."""
