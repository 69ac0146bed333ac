"""Configuration files of third-party programs, made of templates and parameters (Jinja2).

A template is data, not code: it runs in Jinja's sandbox, sees plain data only, and a name that
is not there is an error. Both the template and the file that is written lie under folders that
the caller names; a link that leads out of one is refused.

A file that no template made is never overwritten. For ``out.cfg`` the hidden file
``.out.cfg.taskgrove`` holds the hash of each content that was written. So users and machines that
share a folder know which files may be overwritten; a file that was changed by hand is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import traceback
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, RootModel

from taskgrove.analysis.parameters.base import (
    TaskParameters,
    TemplateConfig,
    TemplateParameters,
)
from taskgrove.analysis.parameters.header import AnalysisHeader
from taskgrove.errors import AnalysisError, MissingExtraError, nearest

#: Longest file that a template may make, in characters.
MAX_OUTPUT: Final = 64 << 20
#: How many hashes, the latest ones, are kept beside a file.
_HASHES: Final = 100


def render_template(
    parameters: TaskParameters,
    *,
    template_root: str | Path | Sequence[str | Path],
    output_root: str | Path | None = None,
    more_output_roots: Sequence[str | Path] = (),
) -> Path | None:
    """Write the configuration file that the parameters ask for.

    The file is complete or not there: it is written beside its place and moved.

    Args:
        parameters: The validated parameters; one of them is a :class:`TemplateConfig`.
        template_root: The folder under which the template lies, or several: the first one in
            which a template of that name is.
        output_root: The folder under which the file may lie, and to which a relative
            ``output_path`` belongs. None: it may lie anywhere, and belongs to the working folder.
        more_output_roots: Further folders under which the file may lie.

    Returns:
        The file, or None where the parameters ask for none: they have no TemplateConfig, or all
        their data for the template are None.

    Raises:
        AnalysisError: A path leads out of its folder; the template is not there, is wrong, or
            uses a name that is no parameter (the error has template and line); the file cannot
            be written, or one is there that was not made here, or was changed since.
        MissingExtraError: Jinja2 is not installed.
    """
    values = {name: getattr(parameters, name) for name in type(parameters).model_fields}
    config = next((value for value in values.values() if isinstance(value, TemplateConfig)), None)
    if config is None or _has_no_data(parameters):
        return None
    root = _root_of(template_root, config.template_name)
    source = _below(root, config.template_name, "template_name")
    if output_root is None:
        target = Path(config.output_path).absolute()
    else:
        target = _output_below(config.output_path, Path(output_root), *map(Path, more_output_roots))
    variables = {name: _variable(value) for name, value in values.items()}
    variables |= parameters.model_extra or {}
    _write(target, _rendered(source, root, variables))
    return target


def _has_no_data(parameters: TaskParameters) -> bool:
    """Return whether fields are there for a template's data, and none of them has any."""
    fields = type(parameters).model_fields
    names = [name for name, field in fields.items() if _is_for_template(field.annotation)]
    has_data = any(getattr(parameters, name) is not None for name in names)
    return bool(names) and not has_data and not parameters.model_extra


def _is_for_template(annotation: Any) -> bool:
    """Return whether an annotation names a model or a mapping, perhaps inside a union or a list."""
    if any(map(_is_for_template, get_args(annotation))):
        return True
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type) or issubclass(kind, (AnalysisHeader, TemplateConfig)):
        return False
    is_plain = issubclass(kind, RootModel) and not issubclass(kind, TemplateParameters)
    return issubclass(kind, (BaseModel, Mapping)) and not is_plain


def _root_of(given: str | Path | Sequence[str | Path], name: str) -> Path:
    roots = [Path(given)] if isinstance(given, (str, Path)) else list(map(Path, given))
    with contextlib.suppress(OSError, ValueError):  # the name is refused later
        return next((root for root in roots if (root / name).is_file()), roots[0])
    return roots[0]


def _output_below(given: str, root: Path, *more: Path) -> Path:
    """Return the place of a file below the first folder, or one of the others."""
    for other in more:
        with contextlib.suppress(AnalysisError, OSError):
            return _below(other, str(root.resolve() / given), "output_path")
    return _below(
        root, given, "output_path", ", or name another folder in the header's output_roots"
    )


def _variable(value: Any) -> Any:
    """Return the value of a parameter as a template sees it."""
    if isinstance(value, TemplateParameters):
        return value.params
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json" if isinstance(value, AnalysisHeader) else "python")
    return value


def _below(root: Path, given: str, key: str, also: str = "") -> Path:
    """Return the place of ``given`` below ``root``."""
    base = root.resolve()
    try:
        place = (base / given).resolve()
    except (OSError, ValueError) as exc:  # too long, or a zero byte
        raise AnalysisError(f"{key} is not a path: {exc}", key=key) from exc
    if place == base or not place.is_relative_to(base):
        raise AnalysisError(
            f"{key} {given!r} lies outside of {str(root)!r}", key=key,
            hint=f"give a path below that folder{also}",
        )  # fmt: skip
    return place


def _rendered(source: Path, root: Path, variables: dict[str, Any]) -> str:
    try:
        import jinja2  # noqa: PLC0415 - an extra, needed only where there are templates

        from taskgrove.analysis.parameters import template_sandbox  # noqa: PLC0415
    except ImportError as exc:
        raise MissingExtraError("analysis", "a template") from exc

    base = root.resolve()

    def load(name: str) -> tuple[str, str, None] | None:
        place = _below(base, name, "template")  # a link may lead out of the folder
        if not place.is_file():
            return None
        return place.read_text(encoding="utf-8"), str(place), None

    environment = template_sandbox.BoundedEnvironment(
        loader=jinja2.FunctionLoader(load),
        undefined=template_sandbox.NamedUndefined,
        autoescape=False,  # it makes text for a program, not a page
        keep_trailing_newline=True,
    )
    name = source.relative_to(base).as_posix()
    parts, length = [], 0
    try:
        for part in environment.get_template(name).generate(variables):
            parts.append(part)
            length += len(part)
            if length > MAX_OUTPUT:
                raise AnalysisError(f"the template {name!r} makes more than {MAX_OUTPUT:,} letters")
    except jinja2.TemplateNotFound as exc:
        raise _not_found(str(exc), name, root) from exc
    except jinja2.TemplateSyntaxError as exc:
        wrong = Path(exc.filename or source)
        raise _at(wrong, exc.lineno, f"the template is wrong: {exc.message}") from exc
    except jinja2.UndefinedError as exc:
        raise _at(
            *_place_of(exc, base, source),
            f"the template uses a name that is no parameter: {exc.message}",
            hint=_hint_for(exc, variables),
        ) from exc
    except AnalysisError:
        raise
    except (OSError, UnicodeError) as exc:
        raise AnalysisError(f"the template cannot be read: {exc}", file=source) from exc
    except Exception as exc:  # any error of an expression of the template
        raise _at(
            *_place_of(exc, base, source),
            f"the template cannot be filled: {type(exc).__name__}: {exc}",
        ) from exc
    return "".join(parts)


def _hint_for(exc: Any, variables: dict[str, Any]) -> str:
    """Return the likely intended name, and how a template does without a name."""
    name = getattr(exc, "name", "") or "name"
    close = nearest(name, variables) if getattr(exc, "is_parameter", False) else None
    known = f"did you mean {close!r}?" if close else f"parameters: {', '.join(sorted(variables))};"
    return f"{known} where it may be missing, write {{{{ {name} | default('…') }}}}"


def _not_found(missing: str, name: str, root: Path) -> AnalysisError:
    if missing != name:
        return AnalysisError(f"the template {name!r} uses {missing!r}, which is not there")
    names = [item.relative_to(root).as_posix() for item in root.rglob("*") if item.is_file()]
    close = nearest(name, names)
    return AnalysisError(
        f"there is no template {name!r} in {str(root)!r}",
        file=root / name,
        errno_name="ENOENT",
        nearest=close,
        hint=f"did you mean {close!r}?" if close else None,
    )


def _at(file: Path, line: int | None, said: str, hint: str | None = None) -> AnalysisError:
    where = file.name if line is None else f"{file.name}:{line}"
    return AnalysisError(f"{where}: {said}", file=file, line=line, hint=hint)


def _place_of(exc: BaseException, base: Path, source: Path) -> tuple[Path, int | None]:
    """Return the template, and its line, at which an error arose: Jinja keeps it in the trace."""
    place: tuple[Path, int | None] = (source, None)
    for frame, line in traceback.walk_tb(exc.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(base):  # an included one, perhaps
            place = (file, line)
    return place


def _write(target: Path, text: str) -> None:
    mark = target.with_name(f".{target.name[:200]}.taskgrove")
    try:
        data = text.encode("utf-8", "surrogateescape")
        is_file = target.is_file() and not target.is_symlink()
        former = target.read_bytes() if is_file else None
        if former == data:
            return
        known = mark.read_text("ascii", "replace").split() if mark.exists() else []
        is_ours = former is not None and hashlib.sha256(former).hexdigest() in known
        if os.path.lexists(target) and not is_ours:
            away = shlex.join(["mv", str(target), f"{target}.kept"])
            raise AnalysisError(
                f"{str(target)!r} is not written: a file is there that no template made, or that"
                " was changed since",
                key="output_path",
                hint=f"give another output_path, or move it away: {away}",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        # The hash first: after a crash here the file is still known as ours.
        hashes = [*known, hashlib.sha256(data).hexdigest()][-_HASHES:]
        _replace(mark, "".join(f"{it}\n" for it in hashes).encode())
        _replace(target, data)
    except (OSError, UnicodeError) as exc:
        raise AnalysisError(f"{str(target)!r} cannot be written: {exc}", key="output_path") from exc


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        with contextlib.suppress(OSError):  # the first error counts
            temporary.unlink(missing_ok=True)
        raise
