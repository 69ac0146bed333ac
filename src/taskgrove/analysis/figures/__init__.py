"""Figures as HTML: one small module a library, each imported only for an object of that library."""

from taskgrove.analysis.figures.part import Asset as Asset
from taskgrove.analysis.figures.part import Part as Part
