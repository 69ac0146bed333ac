"""Runs whose runner is gone, and runs that go on: finding, recovering and resuming them."""
