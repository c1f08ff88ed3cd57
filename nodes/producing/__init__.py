"""What a producer is made of: when frames are due, what travels, what the link to the combiner carries."""
