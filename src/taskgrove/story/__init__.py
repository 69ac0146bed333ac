"""The model of a run: its nodes, and how events become them."""
