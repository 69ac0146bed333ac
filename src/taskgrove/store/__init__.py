"""The record of every run: what keeps it, reads it, and makes sense of it after a crash."""
