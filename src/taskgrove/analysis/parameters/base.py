"""The classes that models of parameters inherit: one model for each analysis.

Values come from a configuration or from code only, never from environment variables.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, RootModel

from taskgrove.analysis.parameters.field import Parameter, info_of
from taskgrove.analysis.substitution import fill
from taskgrove.errors import AnalysisError, UsageError

_TEXTS_OF_RESULTS: Final = ("result_from_params", "result_summary")
#: Settings of a class of parameters; LUTE has them in an inner class.
_SAID_BY_CLASS: Final = (
    "run_directory", "result_from_params", "result_summary", "set_result", "impl_schemas",
    "short_flags_use_eq", "long_flags_use_eq",
)  # fmt: skip


def _not_read(place: str, name: str, value: Any) -> UsageError:
    outer = place.rpartition(".Config")[0].rpartition(".")[2]
    inside = "; in it {{ key }} is the value of a parameter" if name in _TEXTS_OF_RESULTS else ""
    return UsageError(
        f"{outer + '.' if outer else ''}Config.{name} is read by nothing",
        hint=f"write '{name} = {value!r}' in {outer or 'the class'} itself{inside}",
    )


class _InnerConfig(type):
    """Refuses what LUTE's classes say in an inner ``Config``: nothing would read it.

    Such a ``Config`` inherits from that of the base, and validators set values in it.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, namespace)
        for key in _SAID_BY_CLASS:
            if key in namespace:
                raise _not_read(namespace["__qualname__"], key, namespace[key])
        return type(name, (), namespace)  # settings of pydantic

    def __setattr__(cls, name: str, value: Any) -> None:
        raise _not_read(cls.__qualname__, name, value)


class TaskParameters(BaseModel):
    """Parameters of an analysis; a key that is not declared is an error.

    Defaults are validated like values that are given, when an object is made.

    A field of the type :class:`~taskgrove.analysis.parameters.header.AnalysisHeader` (LUTE calls
    it ``lute_config``) gets the header of the configuration.

    Attributes:
        run_directory: The folder in which the analysis runs; ``{{ name }}`` is replaced by the
            value of a parameter. None: the working folder.
        result_from_params: The result of an analysis that reports none itself, made of its
            parameters: ``"{{ outdir }}/{{ tag }}.cxi"``. None: the parameter with ``is_result``.
        result_summary: The summary of that result, made likewise. None: none.
        set_result: Whether the result is made of the parameters where the analysis reports none.
        impl_schemas: The schemas that the result keeps to, separated by ``;``.
    """

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        validate_assignment=True,
        populate_by_name=True,
        protected_namespaces=(),
    )

    run_directory: ClassVar[str | None] = None
    result_from_params: ClassVar[str | None] = None
    result_summary: ClassVar[str | None] = None
    set_result: ClassVar[bool] = False
    impl_schemas: ClassVar[str | None] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse settings in an inner ``Config``, as in LUTE: nothing would read them."""
        super().__pydantic_init_subclass__(**kwargs)
        config = cls.__dict__.get("Config")
        for name in _SAID_BY_CLASS:
            if hasattr(config, name):
                raise _not_read(f"{cls.__name__}.Config", name, getattr(config, name))

    def described_result(self) -> Any:
        """Return the result that the parameters name, such as the output file, or None.

        Raises:
            AnalysisError: Two parameters claim to be it, or ``result_from_params`` names none.
        """
        if not self.set_result:
            return None
        if self.result_from_params is None and len(names := self._result_fields()) > 1:
            raise AnalysisError(
                f"{type(self).__name__} has {len(names)} results: {', '.join(names)}",
                hint="mark one of them with is_result",
            )
        return next(iter(self.named_results()), None)

    def named_results(self) -> list[Any]:
        """Return all that the parameters name as a result, whether or not they tell it.

        Raises:
            AnalysisError: ``result_from_params`` names an unknown parameter.
        """
        if self.result_from_params is not None:
            return [self._filled(self.result_from_params)]
        return [getattr(self, name) for name in self._result_fields()]

    def _result_fields(self) -> list[str]:
        fields = type(self).model_fields
        return [name for name, field in fields.items() if info_of(field).is_result]

    def described_summary(self) -> str | None:
        """Return the summary that the parameters make, or None.

        Raises:
            AnalysisError: ``result_summary`` names an unknown parameter.
        """
        if not self.set_result or self.result_summary is None:
            return None
        return str(self._filled(self.result_summary))

    def run_folder(self) -> str | None:
        """Return ``run_directory`` with the values of parameters in it, or None.

        Raises:
            AnalysisError: It names an unknown parameter.
        """
        if self.run_directory is None:
            return None
        return os.path.expanduser(str(self._filled(self.run_directory)))

    def _filled(self, text: str) -> Any:
        return fill(text, self.model_dump(mode="json"))


# Not in the class: pydantic would take it for its own settings.
setattr(TaskParameters, "Config", _InnerConfig("Config", (), {}))  # noqa: B010


class TemplateConfig(BaseModel):
    """The template of an analysis' own configuration file, and the place of that file.

    Attributes:
        template_name: The template, relative to the folder of templates.
        output_path: The file to write.
    """

    model_config = ConfigDict(extra="forbid")

    template_name: str
    output_path: str


class TemplateParameters(RootModel[Any]):
    """Any data for a template; a field of this type is never on the command line."""

    root: Any

    @property
    def params(self) -> Any:
        """The data."""
        return self.root


class ThirdPartyParameters(TaskParameters):
    """Parameters of a program that knows nothing of taskgrove.

    They become its command line (:func:`~taskgrove.analysis.parameters.render_argv`), in the
    order in which they are declared. Keys that no field declares are allowed: they become flags
    too, or, where a field is a :class:`TemplateConfig` with a value, data for the template.

    Attributes:
        executable: The program: a path, or a name on the PATH.
        short_flags_use_eq: Whether ``-n`` and its value are one argument, ``-n=1``.
        long_flags_use_eq: Whether ``--name`` and its value are one argument, ``--name=1``.
    """

    model_config = ConfigDict(extra="allow")

    short_flags_use_eq: ClassVar[bool] = False
    long_flags_use_eq: ClassVar[bool] = False
    set_result: ClassVar[bool] = True

    executable: str = Parameter(
        description="The program: a path, or a name on the PATH.", flag_type=""
    )
