"""What a combiner is made of: one inbox for each source, what is taken out of it, and the way out."""
