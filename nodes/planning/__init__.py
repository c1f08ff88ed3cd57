"""What a pipeline will take, said before it runs."""
