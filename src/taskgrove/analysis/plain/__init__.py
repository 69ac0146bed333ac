"""Results as plain data: JSON without loss, and back."""
