"""The demonstration: a telescope's command and a beamline's analyses, as a facility writes them.

The package uses public names of taskgrove only, so it is a pattern for a package of your own.
``taskgrove demo`` plays it; ``--analyses taskgrove_demo.analyses`` brings its analyses.
"""
