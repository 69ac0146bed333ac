"""The one explanation of a run: why it ended as it did, and the next step."""

from taskgrove.view.why.explaining import Why as Why
from taskgrove.view.why.explaining import explain as explain
from taskgrove.view.why.explaining import why as why
from taskgrove.view.why.explanation import CauseGroup as CauseGroup
from taskgrove.view.why.explanation import Explanation as Explanation
from taskgrove.view.why.explanation import FirstFailure as FirstFailure
