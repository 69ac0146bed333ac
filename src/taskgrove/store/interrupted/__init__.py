"""Runs whose runner is gone: finding them, and planning how they go on."""
