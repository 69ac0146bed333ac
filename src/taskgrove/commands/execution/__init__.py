"""How the executor runs a tree: scheduling, attempts, threads, internal leaves."""
