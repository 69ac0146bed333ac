"""The file or the server that holds the record: its place, opening it, its migrations."""
