"""The packages of each extra: for ``doctor``, and to name the extra of a missing package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from taskgrove.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part.

    Attributes:
        name: Its name, as in ``pip install 'taskgrove[NAME]'``; empty for the core.
        purpose: Its purpose.
        packages: Distributions that it brings, and the name that each is imported by.
    """

    name: str
    purpose: str
    packages: dict[str, str]


EXTRAS: Final = (
    Extra(
        "", "trees, maps, events", {"msgspec": "msgspec", "pydantic": "pydantic", "PyYAML": "yaml"}
    ),
    Extra("cli", "the command line, the live tree", {"click": "click", "rich": "rich"}),
    Extra("tango", "real devices, and the simulator", {"pytango": "tango"}),
    Extra(
        "store",
        "the record of runs",
        {
            "SQLAlchemy": "sqlalchemy",
            "alembic": "alembic",
            "platformdirs": "platformdirs",
            "psutil": "psutil",
        },
    ),
    Extra("postgres", "the record in PostgreSQL", {"psycopg": "psycopg"}),
    Extra("web", "the live page", {"starlette": "starlette", "uvicorn": "uvicorn"}),
    Extra(
        "export",
        "the record as Parquet and data frames",
        {"pyarrow": "pyarrow", "pandas": "pandas"},
    ),
    Extra(
        "analysis",
        "analyses, templates of their files",
        {"numpy": "numpy", "Jinja2": "jinja2", "psutil": "psutil"},
    ),
    Extra(
        "plots",
        "summary plots",
        {
            "matplotlib": "matplotlib",
            "bokeh": "bokeh",
            "holoviews": "holoviews",
            "panel": "panel",
            "plotly": "plotly",
            "pillow": "PIL",
        },
    ),
    Extra(
        "demo",
        "all that the demonstration uses",
        {"h5py": "h5py", "matplotlib": "matplotlib", "pyFAI": "pyFAI", "scipy": "scipy"},
    ),
)


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    from importlib import metadata  # noqa: PLC0415 - slow

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return which extra is missing where a package cannot be imported, or None.

    Args:
        error: Says which package it is.
    """
    package = (error.name or "").partition(".")[0]
    for extra in EXTRAS:
        if extra.name and package in extra.packages.values():
            return MissingExtraError(extra.name, f"this ({package} is not installed)")
    return None
