"""The processes of a pipeline: producer, combiner and sink; none of them imports another."""
