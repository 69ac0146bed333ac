"""A self-contained page about one run, to read without a network."""
