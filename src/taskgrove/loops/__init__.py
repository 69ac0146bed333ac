"""Threads: the only room that creates them."""
