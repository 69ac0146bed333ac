"""Three analyses of a powder scan, and the simulated scan that they are shown with.

``PyfaiIntegrate`` averages one frame over rings, ``FitRings`` refines the distance to the
detector from the rings of silver behenate, ``Summarise`` publishes a page. A simulated scan
(:mod:`taskgrove_demo.powder.simulation`) writes a real HDF5 file whose distance is known.
They need the extra ``demo``: each process imports only what it uses.
"""
