"""What surfaces show: one view model, its words, and trees as text and HTML."""

from taskgrove.view.snapshot import RunView as RunView
from taskgrove.view.tree_html import render_html as render_html
from taskgrove.view.tree_text import render_plain as render_plain
from taskgrove.view.why.explaining import explain as explain
from taskgrove.view.why.explanation import Explanation as Explanation
