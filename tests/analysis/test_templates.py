"""Configuration files from templates: sandboxed, under their folders, complete or not there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from taskgrove.analysis.parameters import (
    AnalysisHeader,
    TemplateConfig,
    TemplateParameters,
    ThirdPartyParameters,
    render_template,
    template_sandbox,
    template_weight,
)
from taskgrove.analysis.parameters import templates as module
from taskgrove.errors import AnalysisError, MissingExtraError


class Tool(ThirdPartyParameters):
    executable: str = "/bin/tool"
    lute_template_cfg: TemplateConfig | None = None
    peaks: TemplateParameters = TemplateParameters({})
    gain: float = 1.5
    lute_config: AnalysisHeader = AnalysisHeader(experiment="mfx1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    return tmp_path / "templates"


def tool(name: str = "a.cfg", output: str = "out.cfg", **values: Any) -> Tool:
    config = TemplateConfig(template_name=name, output_path=output)
    return Tool(lute_template_cfg=config, **values)


def render(root: Path, text: str, **values: Any) -> str:
    (root / "a.cfg").write_text(text, encoding="utf-8")
    made = render_template(tool(**values), template_root=root, output_root=root.parent)
    assert made == root.parent.resolve() / "out.cfg"
    return made.read_text(encoding="utf-8")


def test_a_template_sees_every_parameter(root: Path) -> None:
    text = "exp={{ lute_config.experiment }}\n{% for x in peaks.rings %}r={{ x }}\n{% endfor %}"
    text += "g={{ gain }} {{ extra }} <&>\n"
    found = render(root, text, peaks={"rings": [1, 2]}, extra="a b")
    assert found == "exp=mfx1\nr=1\nr=2\ng=1.5 a b <&>\n"  # text, not a page: nothing is escaped
    names = sorted(item.name for item in root.parent.iterdir())
    assert names == [".out.cfg.taskgrove", "out.cfg", "templates"]


def test_without_a_template_nothing_is_written(root: Path) -> None:
    assert render_template(Tool(), template_root=root) is None


def test_templates_include_others_below_their_folder(root: Path) -> None:
    (root / "parts").mkdir()
    (root / "parts" / "b").write_text("[{{ gain }}]", encoding="utf-8")
    assert render(root, "{% include 'parts/b' %}") == "[1.5]"
    with pytest.raises(AnalysisError, match="uses 'parts/c', which is not there"):
        render(root, "{% include 'parts/c' %}")
    with pytest.raises(AnalysisError, match="lies outside"):
        render(root, "{% include '../secret' %}")


@pytest.mark.parametrize("name", ["../a.cfg", "/etc/passwd", "", ".", "x/../../a", "link"])
def test_a_template_outside_its_folder_is_refused(root: Path, name: str) -> None:
    (root.parent / "secret").write_text("secret", encoding="utf-8")
    (root / "link").symlink_to(root.parent / "secret")
    with pytest.raises(AnalysisError, match="lies outside"):
        render_template(tool(name), template_root=root, output_root=root.parent)


@pytest.mark.parametrize("output", ["../out", "/etc/out", "link/out"])
def test_a_file_outside_its_folder_is_refused(root: Path, output: str) -> None:
    (root / "a.cfg").write_text("x", encoding="utf-8")
    work = root.parent / "work"
    work.mkdir()
    (work / "link").symlink_to(root.parent)
    with pytest.raises(AnalysisError, match="lies outside") as caught:
        render_template(tool(output=output), template_root=root, output_root=work)
    assert caught.value.key == "output_path"
    assert not list(work.glob("out*"))


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("a\n{{ nope }}", "no parameter: 'nope' is undefined", 2),
        ("{{ peaks.nope.x }}", "no parameter", 1),
        ("a\nb\n{% if %}", "is wrong", 3),
        ("\n{{ gain / 0 }}", "ZeroDivisionError", 2),
        ("{{ peaks.__class__.__mro__ }}", "unsafe", 1),
        ("{{ ''.__class__ }}", "unsafe", 1),
        ("{{ [].append(1) }}", "unsafe", 1),
        ("{{ peaks.update(x=1) }}", "unsafe", 1),
        ("{% for i in range(10**9) %}x{% endfor %}", "OverflowError", 1),
        (
            "{% for a in range(9999) %}{% for b in range(a) %}{% endfor %}{% endfor %}",
            "round",
            1,
        ),
        (
            "{% macro m(n) %}{% if n %}{{ m(n-1) ~ m(n-1) }}{% endif %}{% endmacro %}{{ m(50) }}",
            "round",
            1,
        ),
        (
            "{% for x in [1, 2] recursive %}{{ loop([1, 2]) if loop.depth < 50 }}{% endfor %}",
            "round",
            1,
        ),
        ("\n{{ 'x' * 10**12 }}", "too large", 2),
        ("{{ 10 ** (10 ** 10) }}", "too large", 1),
        ("{{ 10**12 * [1] }}", "too large", 1),
    ],
)
def test_errors_of_a_template_have_its_line(
    root: Path, text: str, why: str, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_sandbox, "MAX_TURNS", 10_000)
    with pytest.raises(AnalysisError, match=why) as caught:
        render(root, text)
    assert caught.value.file == str(root / "a.cfg")
    assert caught.value.line == line
    assert str(caught.value).startswith(f"a.cfg:{line}: ")  # the cause of the analysis is this text
    assert not (root.parent / "out.cfg").exists()


#: Each asks for ten thousand million letters or items, or for as many as there are in sixty
#: doublings; none may be begun.
ENDLESS = {
    "center": "{{ 'a'.center(10**10) }}",
    "ljust": "{{ 'a'.ljust(10**10) }}",
    "zfill": "{{ '1'.zfill(10**10) }}",
    "expandtabs": "{{ ('\t' * 10**6).expandtabs(10**6) }}",
    "replace": "{{ ('a' * 10**6).replace('', 'b' * 10**6) }}",
    "translate": "{{ ('a' * 10**6).translate({97: 'b' * 10**6}) }}",
    "join": "{{ ('a' * 10**6).join('b' * 10**6) }}",
    "bytes": "{{ 'a'.encode().center(10**10) }}",
    "to_bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "by name": "{{ 'a'|attr('center')(10**10) }}",
    "format": "{{ '{:10000000000}'.format(1) }}",
    "format, precise": "{{ '{0:.10000000000f}'.format(1.0) }}",
    "format, nested": "{{ '{:{}}'.format(1, 10**10) }}",
    "format_map": "{{ '{:{w}}'.format_map({'w': 10**10}) }}",
    "format, repeated": "{{ ('{0}' * 10**5).format('a' * 10**5) }}",
    "percent": "{{ '%10000000000d' % 1 }}",
    "percent, star": "{{ '%*d' % (10**10, 1) }}",
    "percent, repeated": "{{ ('%(a)s' * 10**5) % {'a': 'x' * 10**5} }}",
    "filter center": "{{ 'a'|center(10**10) }}",
    "filter format": "{{ '%10000000000d'|format(1) }}",
    "filter indent": "{{ ('\\n' * 10**6)|indent(10**6) }}",
    "filter batch": "{{ [1]|batch(10**9, 0)|list|length }}",
    "filter slice": "{{ [1]|slice(10**9)|list|length }}",
    "filter tojson": "{{ [1]|tojson(indent=10**9) }}",
    "filter join": "{{ range(10**5)|join('a' * 10**6) }}",
    "filter replace": "{{ ('a' * 10**6)|replace('a', 'b' * 10**6) }}",
    "filter wordwrap": "{{ ('a b ' * 10**5)|wordwrap(1, wrapstring='x' * 10**6) }}",
    "filter round": "{{ 1.5|round(10**9, 'ceil') }}",
    "filter sum": "{{ ([[1] * 10**4] * 10**4)|sum(start=[])|length }}",
    "filter of a map": "{{ ['a']|map('center', 10**10)|list }}",
    "filter of a block": "{% filter center(10**10) %}a{% endfilter %}",
    "filter of a constant": (
        "{% set x %}{% for i in range(10**5) %}{{ 'a'|center(10**6) }}{% endfor %}{% endset %}"
    ),
    "text of a loop": (
        "{% set x %}{% for i in range(10**5) %}" + "text" * 10**4 + "{% endfor %}{% endset %}"
    ),
    "lists in lists": "{{ [[1] * 10**5] * 10**5 }}",
    "plus": "{% set a = 'a' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "tilde": "{% set a = 'a' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "set": "{% set a = 'ab' %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60 + "{{ a }}",
    "list": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "tuple": "{% set a = [1] %}" + "{% set a = (a, a) %}" * 60 + "{{ a|string }}",
    "dict": "{% set a = [1] %}" + "{% set a = {'a': a, 'b': a} %}" * 60 + "{{ a|tojson }}",
    "compared": (
        "{% set a = [1] %}{% set b = [1] %}"
        + "{% set a = [a, a] %}{% set b = [b, b] %}" * 60
        + "{{ a == b }}"
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_no_expression_makes_what_is_too_large(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_weight, "MAX_ITEMS", 20_000)  # to count them takes time
    with pytest.raises(AnalysisError, match=r"is too large|letters and items") as caught:
        render(root, ENDLESS[name])
    assert str(caught.value).startswith("a.cfg:1: ")


def test_a_template_has_no_text_of_its_own_in_any_amount(root: Path) -> None:
    with pytest.raises(AnalysisError, match="'lipsum' is undefined"):
        render(root, "{{ lipsum(10**9) }}")


def test_the_time_of_a_template_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "MAX_SECONDS", -1.0)
    with pytest.raises(AnalysisError, match="filling it takes more than"):
        render(root, "{{ 1 }}")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ 'abc'.center(7) }}|{{ 'abc'|center(7) }}|{{ '%-3s' % 'a' }}|", "  abc  |  abc  |a  |"),
        ("{{ '%05d %s %.3f'|format(3, 'x', 1.25) }} {{ '%d%%' % 5 }}", "00003 x 1.250 5%"),
        ("{{ '%d' % 1700000000 }}{{ ' run 1700000000: %d' % 3 }}", "1700000000 run 1700000000: 3"),
        ("{{ '{:>8.3f} {}'.format(1.25, 3) }}", "   1.250 3"),
        ("{{ 1700000000.123|round(1) }} {{ 3|default(1700000000) }}", "1700000000.1 3"),
        ("{{ [3, 1]|sort|map('string')|join(', ') }} {{ [1, 2]|sum }}", "1, 3 3"),
        ("{{ {'a': [1]}|tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
        ("{{ ('line\\n' * 10000)|indent(8)|length }}", "129992"),
        ("{{ ('some text ' * 1000).replace('text', 'words')|length }}", "11000"),
        ("{{ range(10000)|join(',')|length }} {{ range(100000)|list|length }}", "48889 100000"),
        ("{% for x in [1, 2, 3]|batch(2, '-') %}{{ x|join }};{% endfor %}", "12;3-;"),
        ("{% set ns = namespace(t=[]) %}{% for i in range(3) %}{% set ns.t = ns.t + [i] %}"
         "{% endfor %}{{ ns.t ~ '-' ~ 1.5 }}", "[0, 1, 2]-1.5"),
        ("{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}", "1234"),
    ],
)  # fmt: skip
def test_what_templates_usually_do_is_done(text: str, made: str, root: Path) -> None:
    assert render(root, text) == made


def test_a_template_extends_another(root: Path) -> None:
    (root / "base").write_text("<{% block inner %}b{% endblock %}>", encoding="utf-8")
    text = "{% extends 'base' %}{% block inner %}{{ super() }}{{ 'x' ~ 1 }}{% endblock %}"
    assert render(root, text) == "<bx1>"


def test_an_error_in_an_included_template_names_that_one(root: Path) -> None:
    (root / "part").write_text("\n\n{{ nope }}", encoding="utf-8")
    with pytest.raises(AnalysisError, match=r"^part:3: .* 'nope' is undefined"):
        render(root, "{% include 'part' %}")


def test_numbers_and_texts_of_a_usual_size_can_be_multiplied(root: Path) -> None:
    text = "{{ '-' * 20 }} {{ 2 ** 10 }} {{ 2 * 3.5 }} {{ 2 ** -1 }} {{ 3 * [1] }} {{ 2.5 ** 2 }}"
    assert render(root, text) == f"{'-' * 20} 1024 7.0 0.5 [1, 1, 1] 6.25"


def test_a_missing_template_has_a_near_miss(root: Path) -> None:
    (root / "cheetah.cfg").write_text("", encoding="utf-8")
    with pytest.raises(AnalysisError, match="no template 'chetah") as caught:
        render_template(tool("chetah.cfg"), template_root=root)
    assert caught.value.hint == "did you mean 'cheetah.cfg'?"


def test_a_former_file_survives_an_error(root: Path) -> None:
    render(root, "first")
    with pytest.raises(AnalysisError):
        render(root, "{{ nope }}")
    assert (root.parent / "out.cfg").read_text(encoding="utf-8") == "first"


def test_a_file_that_cannot_be_written_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AnalysisError, match="No space left"):
        render(root, "x")
    assert [item.name for item in root.parent.iterdir()] == ["templates"]


def test_what_a_template_makes_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OUTPUT", 100)
    with pytest.raises(AnalysisError, match="more than 100"):
        render(root, "{% for i in range(200) %}x{% endfor %}")


def test_without_jinja_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match="'analysis'"):
        render(root, "x")


def test_a_file_that_somebody_else_made_is_never_written_over(root: Path) -> None:
    target = root.parent / "out.cfg"
    target.write_text("by hand", encoding="utf-8")
    with pytest.raises(AnalysisError, match="no template made") as told:
        render(root, "gain={{ gain }}")
    assert target.read_text(encoding="utf-8") == "by hand"
    words = shlex.split(str(told.value.hint).rpartition(": ")[2])
    subprocess.run(words, check=True)  # the advice works as it is printed
    assert render(root, "gain={{ gain }}") == "gain=1.5"
    assert (root.parent / "out.cfg.kept").read_text(encoding="utf-8") == "by hand"


def test_a_file_of_ours_is_made_anew_until_somebody_changes_it(root: Path) -> None:
    assert render(root, "gain={{ gain }}") == "gain=1.5"
    assert render(root, "gain={{ gain }}", gain=2) == "gain=2.0"
    assert render(root, "gain={{ gain }}") == "gain=1.5"
    target = root.parent / "out.cfg"
    target.write_text("gain=1.75 # tuned by hand", encoding="utf-8")
    with pytest.raises(AnalysisError, match="changed since"):
        render(root, "gain={{ gain }}")
    assert target.read_text(encoding="utf-8") == "gain=1.75 # tuned by hand"


def test_what_is_there_already_is_left_and_stays_somebody_elses(root: Path) -> None:
    target = root.parent / "out.cfg"
    target.write_text("gain=1.5", encoding="utf-8")
    before = target.stat()
    assert render(root, "gain={{ gain }}") == "gain=1.5"
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    with pytest.raises(AnalysisError, match="no template made"):
        render(root, "gain={{ gain }}", gain=2)


def test_a_link_where_the_file_should_be_is_somebody_elses(root: Path) -> None:
    (root / "a.cfg").write_text("x", encoding="utf-8")
    (root.parent / "out.cfg").symlink_to("nowhere")
    with pytest.raises(AnalysisError, match="no template made"):
        render_template(tool(output=str(root.parent / "out.cfg")), template_root=root)
    assert os.readlink(root.parent / "out.cfg") == "nowhere"


def test_what_was_cut_off_between_mark_and_file_is_ours(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert render(root, "gain={{ gain }}") == "gain=1.5"
    real = Path.replace

    def refuses(self: Path, target: Path) -> Path:
        if target.name == "out.cfg":
            raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuses)
        with pytest.raises(AnalysisError, match="No space left"):
            render(root, "gain={{ gain }}", gain=2)
    assert render(root, "gain={{ gain }}", gain=3) == "gain=3.0"


def test_the_first_folder_that_has_the_template_counts(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.cfg").write_text("of the package\n")
    (package / "b.cfg").write_text("b of the package\n")
    (root / "a.cfg").write_text("of the header\n")
    for name, made in (("a.cfg", "of the header\n"), ("b.cfg", "b of the package\n")):
        file = render_template(
            tool(name, f"{name}.out"), template_root=[root, package], output_root=tmp_path
        )
        assert file is not None
        assert file.read_text() == made
    with pytest.raises(AnalysisError, match=r"there is no template 'c\.cfg' in") as caught:
        render_template(tool("c.cfg"), template_root=[root, package], output_root=tmp_path)
    assert caught.value.file == str(root / "c.cfg")


def test_a_file_may_lie_in_a_folder_that_is_named(root: Path, tmp_path: Path) -> None:
    (root / "a.cfg").write_text("x\n")
    work, shared, other = (tmp_path / name for name in ("work", "shared", "other"))
    for folder in (work, shared, other):
        folder.mkdir()

    def rendered(output: str) -> Path | None:
        return render_template(
            tool(output=output), template_root=root, output_root=work, more_output_roots=[shared]
        )

    assert rendered(str(shared / "one.cfg")) == shared / "one.cfg"
    assert rendered("../shared/two.cfg") == shared / "two.cfg"
    assert rendered("three.cfg") == work / "three.cfg"
    (shared / "away").symlink_to(other)
    for output in (other / "no.cfg", shared / "away" / "no.cfg"):
        with pytest.raises(AnalysisError, match="lies outside of") as caught:
            rendered(str(output))
        assert "output_roots" in str(caught.value.hint)
    assert not list(other.iterdir())


class Geometry(BaseModel):
    distance: float = 0.2
    panels: list[str] = ["q0", "q1"]


class Typed(Tool):
    geometry: Geometry | None = None


def test_a_model_is_data_for_a_template(root: Path) -> None:
    (root / "a.cfg").write_text("{{ geometry.distance }} {{ geometry.panels | join('+') }}")
    config = TemplateConfig(template_name="a.cfg", output_path="out.cfg")
    typed = Typed(lute_template_cfg=config, geometry=Geometry(distance=1.5))
    made = render_template(typed, template_root=root, output_root=root.parent)
    assert made is not None
    assert made.read_text() == "1.5 q0+q1"


class WithoutData(ThirdPartyParameters):
    executable: str = "/bin/tool"
    lute_template_cfg: TemplateConfig = TemplateConfig(template_name="a", output_path="out")
    peaks: TemplateParameters | None = None


def test_without_data_for_the_template_nothing_is_written(root: Path) -> None:
    (root / "a").write_text("{{ peaks }}{{ own }}")
    assert render_template(WithoutData(), template_root=root, output_root=root.parent) is None
    assert not (root.parent / "out").exists()
    (root / "a").write_text("{{ peaks }}")
    full = WithoutData(peaks=TemplateParameters(3))
    assert render_template(full, template_root=root, output_root=root.parent) is not None


class WithoutTyped(ThirdPartyParameters):
    executable: str = "/bin/tool"
    lute_template_cfg: TemplateConfig = TemplateConfig(template_name="a", output_path="out")
    geometry: Geometry | None = None
    more: list[Geometry] | None = None
    by_name: dict[str, float] | None = None
    threads: int | None = 2


@pytest.mark.parametrize(
    "given", [{"geometry": Geometry(distance=1)}, {"more": []}, {"by_name": {}}, {"extra": 1}]
)
def test_typed_data_for_the_template_are_data(root: Path, given: dict[str, Any]) -> None:
    (root / "a").write_text("{{ threads }}")
    assert render_template(WithoutTyped(), template_root=root, output_root=root.parent) is None
    full = WithoutTyped(**given)
    assert render_template(full, template_root=root, output_root=root.parent) is not None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ gian }}", "did you mean 'gain'? where it may be missing, write {{ gian | default("),
        ("{% if gian > 1 %}{% endif %}", "did you mean 'gain'?"),
        ("{{ elsewhere }}", "; where it may be missing, write {{ elsewhere | default("),
        ("{{ peaks.gian }}", "parameters: "),
    ],
)
def test_a_name_that_is_not_there_tells_how_to_do_without(root: Path, text: str, hint: str) -> None:
    with pytest.raises(AnalysisError, match="no parameter") as caught:
        render(root, "\n" + text)
    assert hint in str(caught.value.hint)
    assert (caught.value.file, caught.value.line) == (str(root / "a.cfg"), 2)


def test_a_default_does_without_a_name(root: Path) -> None:
    assert render(root, "{{ gian | default('x') }}{{ peaks.gian | default(2) }}") == "x2"
