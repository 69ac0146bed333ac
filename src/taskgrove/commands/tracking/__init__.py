"""What TaskTracker is made of: records, delivery, events, contexts."""
