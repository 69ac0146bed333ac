"""LUTE's test tasks, as classes of taskgrove.

The module needs no pydantic, so that another interpreter can run it, too.
"""

from __future__ import annotations

import time
from pathlib import Path

from taskgrove.analysis import AnalysisTask


class Test(AnalysisTask):
    """Counts, tells how far it is, and fails if it is asked to."""

    def run(self):
        given = self.parameters
        for number in range(10):
            self.report_progress(10 * (number + 1), f"message {number}")
        if given.throw_error:
            raise RuntimeError(f"{given.str_var} was asked to fail")
        return self.result({"twice": 2 * given.float_var, **vars(given.compound_var)}, "it ended")


class TestSocket(AnalysisTask):
    """Gives large arrays back: they belong into the result, and no message is lost."""

    def run(self):
        import numpy as np

        given, arrays = self.parameters, []
        for number in range(given.num_arrays):
            self.log.info("array %d", number)
            arrays.append(np.full(given.array_size, float(number)))
        return self.result(arrays, f"{len(arrays)} arrays")


class TestWriteOutput(AnalysisTask):
    """Writes a file; its place is the result, which TestReadOutput finds."""

    def run(self):
        given = self.parameters
        file = Path(given.outfile_name).absolute()
        file.write_text("".join(f"{number / 7}\n" for number in range(given.num_vals)))
        return self.result(str(file), f"{given.num_vals} values written")


class TestReadOutput(AnalysisTask):
    """Reads the file that an earlier analysis wrote."""

    def run(self):
        values = [float(line) for line in Path(self.parameters.in_file).read_text().splitlines()]
        return self.result({"values": len(values), "sum": sum(values)}, "the file was read")


class TestUnresponsive(AnalysisTask):
    """Says something, and then nothing for a long time."""

    def run(self):
        self.log.info("it goes quiet")
        time.sleep(600)
