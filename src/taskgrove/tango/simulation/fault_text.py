"""Faults as people and maps write them, read into a :class:`~.faults.Fault`.

One function reads one fault, :func:`parse_fault`; the others read collections of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from taskgrove.control_model import ResultCode
from taskgrove.errors import UsageError, did_you_mean
from taskgrove.tango.simulation.faults import Fault, FaultKind, FaultPlan

_FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(Fault))
_SHORT: Final = re.compile(
    r'\s*(?P<kind>[\w-]+)\s*(?:\(\s*(?P<text>"[^"]*"|[^()]*?)\s*\)\s*)?(?P<rest>,.*)?', re.DOTALL
)
_PART: Final = re.compile(r'\s*([\w-]+)\s*=\s*("[^"]*"|[^,"]*)\s*(?:,|$)')
_ARGUMENT: Final = re.compile(r"\s*([^:=\s]+)\s*:\s*([\w*?]+)\s*=(.*)", re.DOTALL)


def parse_fault(value: Fault | str | Mapping[str, Any], where: str = "fault") -> Fault:
    """Return the fault that is written in any of its forms.

    The forms: ``fail``; ``fail,message=lock lost,at=40``; ``fail("lock lost")``;
    ``{"kind": "fail", "at": 40}``; ``{"fail": {"at": 40}}``.

    Args:
        value: The written fault.
        where: Its place in the error, such as ``low-pst/beam/03:Configure``.

    Raises:
        UsageError: It is no fault; the message lists the allowed names, the hint the nearest.
    """
    if isinstance(value, Fault):
        return value
    if isinstance(value, str):
        return _build(*_read_short(value, where), where)
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: a fault is a word or a mapping, not {value!r:.80}")
    fields = dict(value)
    if "kind" in fields:
        return _build(fields.pop("kind"), fields, where)
    if len(fields) != 1:
        raise UsageError(
            f"{where}: a fault written as a mapping has a 'kind', or the kind as its only key",
            hint="for example {kind: fail, at: 40} or {fail: {at: 40}}",
        )
    kind, parameters = next(iter(fields.items()))
    if parameters is not None and not isinstance(parameters, Mapping):
        raise UsageError(f"{where}: the parameters of {kind!r} are a mapping, not {parameters!r}")
    return _build(kind, dict(parameters or {}), where)


def _read_short(text: str, where: str) -> tuple[str, dict[str, Any]]:
    match = _SHORT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{where}: cannot read the fault {text!r}",
            hint='write KIND, KIND("message") or KIND,name=value,...',
        )
    parameters: dict[str, Any] = {}
    if match["text"]:
        parameters["message"] = match["text"].strip('"')
    rest = (match["rest"] or "")[1:]
    while rest.strip():
        part = _PART.match(rest)
        if part is None:
            raise UsageError(f"{where}: cannot read {rest!r} as name=value")
        raw = part[2].strip()
        parameters[part[1]] = raw[1:-1] if raw.startswith('"') else raw
        rest = rest[part.end() :]
    if "value" in parameters:
        parameters["value"] = _json_or_text(parameters["value"])
    return match["kind"], parameters


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _build(kind: Any, parameters: dict[Any, Any], where: str) -> Fault:
    word = str(kind).strip().lower().replace("_", "-")
    allowed = [item.value for item in FaultKind]
    if word not in allowed:
        raise UsageError(
            f"{where}: there is no fault {kind!r}; allowed are {', '.join(allowed)}",
            hint=did_you_mean(word, allowed),
        )
    for name in parameters:
        if name not in _FIELDS or name == "kind":
            raise UsageError(
                f"{where}: a fault has no parameter {name!r}; allowed are {', '.join(_FIELDS[1:])}",
                hint=did_you_mean(str(name), _FIELDS),
            )
    fields = {**parameters, "kind": word}
    code = fields.get("code")
    if isinstance(code, str) and code.strip().upper() in ResultCode.__members__:
        fields["code"] = int(ResultCode[code.strip().upper()])
    if "message" in fields:
        fields["message"] = str(fields["message"])
    try:
        return msgspec.convert(fields, Fault, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error


def parse_fault_argument(text: str) -> tuple[str, str, Fault]:
    """Return device, command and fault of ``DEVICE:COMMAND=FAULT``, as on a command line.

    Raises:
        UsageError: It is not written so, or is no fault.
    """
    match = _ARGUMENT.fullmatch(text)
    if match is None:
        raise UsageError(
            f"cannot read the fault {text!r}",
            hint="write DEVICE:COMMAND=FAULT, such as low-pst/beam/03:Configure=fail",
        )
    device, command, fault = match.groups()
    return device.lower(), command, parse_fault(fault, f"{device}:{command}")


def parse_command_faults(value: Any, where: str = "faults") -> dict[str, tuple[Fault, ...]]:
    """Return the faults of one device: a mapping from command to a fault or a list of them.

    Raises:
        UsageError: A fault is not one.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: a mapping from command to fault is needed, not {value!r:.80}")
    table: dict[str, tuple[Fault, ...]] = {}
    for command, faults in value.items():
        each = faults if isinstance(faults, list | tuple) else [faults]
        name = f"{where}:{command}"
        table[str(command)] = tuple(parse_fault(fault, name) for fault in each)
    return table


def parse_faults(value: Mapping[str, Any] | Iterable[str] | None) -> FaultPlan:
    """Return the faults of a fleet, from a map's section or from command line strings.

    Args:
        value: device → command → fault or list of faults, or strings for
            :func:`parse_fault_argument`; None: no faults.

    Raises:
        UsageError: A fault is not one.
    """
    plan: FaultPlan = {}
    if value is None:
        return plan
    if isinstance(value, Mapping):
        for device, faults in value.items():
            plan[str(device).lower()] = parse_command_faults(faults, str(device))
        return plan
    for text in value:
        add_fault(plan, text)
    return plan


def add_fault(plan: FaultPlan, text: str) -> None:
    """Add the fault of ``DEVICE:COMMAND=FAULT`` to a plan; see :func:`parse_fault_argument`."""
    device, command, fault = parse_fault_argument(text)
    commands = plan.setdefault(device, {})
    commands[command] = (*commands.get(command, ()), fault)


def select_faults(plan: FaultPlan, device: str) -> dict[str, tuple[Fault, ...]]:
    """Return command → faults of one device: those of its name and of the patterns it matches."""
    selected: dict[str, tuple[Fault, ...]] = {}
    for pattern, commands in plan.items():
        if fnmatchcase(device.lower(), pattern):
            for command, faults in commands.items():
                selected[command] = (*selected.get(command, ()), *faults)
    return selected


def check_plan(plan: FaultPlan, devices: list[str], commands: tuple[str, ...]) -> None:
    """Check that every fault is of a device and a command that there are.

    Raises:
        UsageError: It is not, with the nearest name as a hint.
    """
    known = [device.lower() for device in devices]
    for pattern, table in plan.items():
        _check_name(pattern, known, "device")
        for command in table:
            _check_name(command, list(commands), f"command of {pattern}")


def _check_name(pattern: str, known: list[str], what: str) -> None:
    if not any(fnmatchcase(name, pattern) for name in known):
        others = f"there are {', '.join(known[:8]) or 'none'}"
        raise UsageError(
            f"a fault is set on {pattern!r}, which is no {what} here",
            hint=did_you_mean(pattern, known, others),
        )
