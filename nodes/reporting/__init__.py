"""What the sink shows: a line per pair, the ledger and the final report."""
