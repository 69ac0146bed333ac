"""The live page: a server of one record, and what it shows in a browser."""
