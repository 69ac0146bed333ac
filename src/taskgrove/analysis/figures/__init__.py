"""Figures as HTML: one small module a library, each imported only for an object of that library."""
