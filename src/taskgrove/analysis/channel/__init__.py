"""What an analysis and its executor say to each other, byte by byte.

``connection`` is an end of it, ``frames`` and ``messages`` what goes over it, ``shared_buffers``
what is too large for it; ``child_…`` is the analysis' side.
"""
