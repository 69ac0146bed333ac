"""What a command is, how it runs, and how its outcome is decided (seeds 000 to 003)."""
