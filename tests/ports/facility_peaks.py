"""An analysis that runs in an interpreter without any package, such as that of psana."""

from __future__ import annotations

import sys

from taskgrove.analysis import AnalysisTask


class FindPeaks(AnalysisTask):
    """Finds the values of a trace that stand out."""

    def run(self):
        given = self.parameters
        peaks = [at for at, value in enumerate(given.trace) if value >= given.threshold]
        self.report_progress(50, f"{len(peaks)} peaks")
        with open(given.out_file, "w") as file:
            file.writelines(f"{at},{given.trace[at]}\n" for at in peaks)
        return self.result({"peaks": peaks, "ran_in": sys.prefix}, f"{len(peaks)} peaks")
