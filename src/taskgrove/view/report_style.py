"""How a report looks: one style sheet, light and dark, on a screen and on paper."""

from __future__ import annotations

from typing import Final

from taskgrove.view.states import TONES

_LIGHT: Final = (
    "--paper:#ffffff;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--shade:#f6f8fa;"
    "--good:#1a7f37;--warn:#9a6700;--bad:#cf222e;--stop:#8250df;--calm:#0b6e99"
)
_DARK: Final = (
    "--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--shade:#161b22;"
    "--good:#3fb950;--warn:#d29922;--bad:#f85149;--stop:#b07cff;--calm:#39c5cf"
)

STYLE: Final = "".join(
    [
        f":root{{color-scheme:light dark;{_LIGHT}}}",
        f"@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}",
        "*{box-sizing:border-box}",
        "body{margin:0;background:var(--paper);color:var(--ink);"
        "font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}",
        "main,footer{max-width:70rem;margin:0 auto;padding:1.5rem}",
        "footer{color:var(--soft);font-size:.85em;border-top:1px solid var(--line)}",
        "h1,h2{line-height:1.2;margin:0 0 .6em}",
        "h2{font-size:1.5em}",
        "h3{font-size:1.05em;margin:1.6em 0 .5em;padding-bottom:.2em;"
        "border-bottom:1px solid var(--line)}",
        "h4{margin:1em 0 .3em}",
        "small{color:var(--soft);font-weight:normal}",
        "table+article{margin-top:2.5rem}",
        "article+article{margin-top:3rem;padding-top:2rem;border-top:3px double var(--line)}",
        "section{overflow-x:auto}",
        "table{border-collapse:collapse}",
        "th,td{text-align:left;vertical-align:top;padding:.15em 1em .15em 0}",
        "table.pairs th{color:var(--soft);font-weight:normal;white-space:nowrap}",
        "table.pairs td{overflow-wrap:anywhere}",
        ".taskgrove td,.taskgrove-why td{white-space:nowrap}",
        ".taskgrove td:last-child,.taskgrove-why td:last-child{white-space:normal}",
        "pre{background:var(--shade);border:1px solid var(--line);border-radius:6px;"
        "padding:.8em;overflow-x:auto;font-size:.85em}",
        "a{color:var(--calm)}",
        "details{margin:.4em 0}",
        "summary{cursor:pointer;color:var(--soft)}",
        ".badge{font-size:.7em;padding:.15em .6em;border-radius:1em;border:1px solid;"
        "vertical-align:middle;white-space:nowrap;font-weight:600}",
        "td .badge{font-size:.85em}",
        ".ok{color:var(--good)}.degraded{color:var(--warn)}.failed,.rejected{color:var(--bad)}",
        ".aborted,.lost{color:var(--stop)}.running{color:var(--calm)}",
        *(
            f'[style*="{colour}"]{{color:var(--{name})!important}}'
            for name, colour in TONES.items()
        ),
        # Paper is white, and nothing on it can be opened or scrolled.
        f"@media print{{:root{{{_LIGHT}}}body{{font-size:10pt}}main,footer{{max-width:none;"
        "padding:0}article+article{break-before:page}h2,h3,h4{break-after:avoid}"
        "tr{break-inside:avoid}section{overflow:visible}pre{white-space:pre-wrap}"
        "details::details-content{content-visibility:visible;display:block;height:auto}}",
    ]
)
