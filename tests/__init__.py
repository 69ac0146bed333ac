"""The test suite; its parts import each other as ``tests.…``."""
