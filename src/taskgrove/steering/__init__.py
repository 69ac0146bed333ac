"""Requests on a live run: who may ask for what, when, why, and the answer."""
