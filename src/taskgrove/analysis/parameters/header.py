"""The header of a configuration: settings for all of its analyses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


#: Keys of a header that are paths: ``~`` is the user's home in them.
FOLDERS_AND_FILES: Final = ("work_dir", "template_dir", "environment_file", "output_roots")


class AnalysisHeader(BaseModel):
    """The header of a configuration.

    Keys besides these are kept: they are variables for the sections (``{{ name }}``).
    Unlike the header of LUTE, creating one reads no environment and looks at no folder.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, protected_namespaces=())

    title: str = Field("", description="The purpose of the configuration.")
    experiment: str = Field("", description="The experiment.")
    run: int | str = Field("", description="The run of data acquisition; empty: not given.")
    date: str = Field("", description="The date of the analysis, as it was written.")
    lute_version: float | str | None = Field(
        None, description="Kept for configurations of LUTE; nothing depends on it."
    )
    task_timeout: PositiveInt | PositiveFloat = Field(
        600, le=1e9, description="Longest time that an analysis may take, in seconds."
    )
    work_dir: str = Field(
        "", description="The folder in which analyses work; empty: where taskgrove was started."
    )
    template_dir: str = Field(
        "", description="The folder of the templates of analyses; empty: work_dir."
    )
    output_roots: list[str] = Field(
        default_factory=list,
        description="Folders in which a template may write its file, besides the working folder.",
    )
    environment: dict[str, str | None] = Field(
        default_factory=dict,
        description="Variables of the environment of every analysis; null removes one.",
    )
    environment_file: str = Field(
        "", description="A shell script that is sourced for the environment; empty: none."
    )

    @field_validator(*FOLDERS_AND_FILES)
    @classmethod
    def _at_home(cls, value: str | list[str]) -> str | list[str]:
        return _expanded(value) if isinstance(value, str) else list(map(_expanded, value))

    @property
    def variables(self) -> dict[str, Any]:
        """The keys that are no fields, with their values."""
        return dict(self.model_extra or {})


def _expanded(value: str) -> str:
    """Return a path with the user's home in place of ``~``."""
    expanded = os.path.expanduser(value)
    if expanded.startswith("~"):
        raise ValueError(f"{value!r} names no user's home; write './{value}' for such a name")
    if "\0" in expanded:
        raise ValueError("a path holds no zero byte")
    return expanded


def is_header_field(field: FieldInfo) -> bool:
    """Return whether a field of a model is filled with the header of the configuration."""
    return AnalysisHeader in {field.annotation, *get_args(field.annotation)}
