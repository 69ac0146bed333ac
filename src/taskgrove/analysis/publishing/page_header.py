"""The head of a page: which run, analysis, parameters and time it comes from, and its files.

A page that an author wrote as a whole document has none: it stays byte for byte. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from taskgrove.analysis.figures.html_document import ORIGIN_MARK
from taskgrove.analysis.publishing.page_files import FileRecord
from taskgrove.analysis.publishing.page_names import INDEX_PAGE
from taskgrove.analysis.publishing.page_origin import PageOrigin
from taskgrove.analysis.publishing.page_words import counted, shown, size_text, time_tag

#: So many parameters are shown at once; more are folded. Of very many the rest is left out.
_UNFOLDED: Final = 4
_MOST: Final = 500
_VALUE_LIMIT: Final = 1_000
#: The head hides where it is the fragment of the address, as in a frame that tells it all itself.
HEAD_ID: Final = "taskgrove-origin"
_MARK: Final = f"</head>\n<body>\n{ORIGIN_MARK}\n".encode()
_STYLE: Final = """\
.taskgrove{border-bottom:1px solid #d0d7de;margin:-12px -12px 12px;padding:8px 12px;
background:#f6f8fa;font-size:14px;display:flex;flex-wrap:wrap;gap:2px 18px;align-items:baseline}
.taskgrove:target{display:none}
.taskgrove :is(h1,dl,dd,ul){margin:0;padding:0;font:inherit}
.taskgrove h1{font-weight:600;overflow-wrap:anywhere}
.taskgrove>nav{margin-left:auto}
.taskgrove a{color:#0969da}
.taskgrove .facts{flex-basis:100%}
.taskgrove :is(.facts,.facts>div){display:flex;flex-wrap:wrap;gap:2px 18px}
.taskgrove .facts>div{gap:5px}
.taskgrove :is(dt,summary){color:#59636e}
.taskgrove dd{overflow-wrap:anywhere}
.taskgrove details{flex-basis:100%}
.taskgrove summary{cursor:pointer}
.taskgrove details dl{display:grid;grid-template-columns:fit-content(40%) minmax(0,1fr);
gap:1px 14px;margin:4px 0;max-height:40vh;overflow:auto}
.taskgrove details dd{white-space:pre-wrap}
.taskgrove ul{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:4px 0}
"""


def with_header(
    page: bytes,
    display_name: str,
    published_ns: int,
    origin: PageOrigin | None,
    parameters: Mapping[str, str] | None,
    files: Sequence[FileRecord],
) -> bytes:
    """Return a page with its head; one that was not drawn here comes back as it is.

    Args:
        page: The page.
        display_name: Its place.
        published_ns: When it is published, nanoseconds since the epoch, UTC.
        origin: Where it comes from; None: not known.
        parameters: The parameters of the analysis, in words; None: not known.
        files: What is published beside it.
    """
    if _MARK not in page:
        return page
    up = "../" * (display_name.count("/") + 1)
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>"
        for name, value in [*_facts(origin), ("published", time_tag(published_ns))]
    )
    head = (
        f"<style>{_STYLE}</style>"
        f'<header class="taskgrove" id="{HEAD_ID}"><h1>{shown(" / ".join(display_name.split("/")))}'
        f'</h1><nav><a href="{up}{INDEX_PAGE}">All pages</a></nav><dl class="facts">{facts}</dl>'
        f"{_parameters(parameters or {})}{_files(files)}</header>\n"
    )
    return page.replace(_MARK, _MARK + head.encode("utf-8", "replace"), 1)


def _facts(origin: PageOrigin | None) -> list[tuple[str, str]]:
    if origin is None:
        return [("origin", "not known")]
    told = [
        ("analysis", origin.analysis),
        ("experiment", origin.experiment),
        ("run", str(origin.experiment_run)),
        ("taskgrove run", origin.run_id),
        ("step", origin.path),
    ]
    return [(name, shown(value)) for name, value in told if value]


def _parameters(parameters: Mapping[str, str]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<dt>{shown(name)}</dt><dd>{shown(_short(value))}</dd>"
        for name, value in list(parameters.items())[:_MOST]
    )
    more = len(parameters) - _MOST
    rest = f"<p>{more} more are in the record of the run.</p>" if more > 0 else ""
    is_open = " open" if len(parameters) <= _UNFOLDED else ""
    said = counted(len(parameters), "parameter")
    return f"<details{is_open}><summary>{said}</summary><dl>{rows}</dl>{rest}</details>"


def _files(files: Sequence[FileRecord]) -> str:
    if not files:
        return ""
    items = "".join(f"<li>{file_link('', file)}</li>" for file in files)
    return (
        f"<details open><summary>{counted(len(files), 'file')}</summary><ul>{items}</ul></details>"
    )


def file_link(folder: str, file: FileRecord) -> str:
    """Return a link to a file of a page, with its size.

    Args:
        folder: The address of the folder of the page, with a slash at its end; empty: the link
            is on the page itself.
        file: The file.
    """
    label = f" ({shown(file.label)})" if file.label and file.label != file.name else ""
    return (
        f'<a href="{escape(folder + file.address)}" download>{shown(file.name)}</a>{label}'
        f" · {size_text(file.size_bytes)}"
    )


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_LIMIT else f"{text[:_VALUE_LIMIT]} …"
