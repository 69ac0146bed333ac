"""Finding and recovering runs whose runner is gone, and resuming runs."""
