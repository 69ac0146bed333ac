"""The parts of a TaskTracker: course, judgement, delivery, events, updates."""
