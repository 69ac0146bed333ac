"""A page of Panel with plots that take the width and the height that there is."""

from __future__ import annotations

from taskgrove.analysis import AnalysisTask, ElogSummaryPlots


class PlotScan(AnalysisTask):
    """Draws a scan in two tabs."""

    def run(self):
        import panel as pn
        from bokeh.plotting import figure

        scan = self.parameters
        best = scan.positions[scan.counts.index(max(scan.counts))]
        tabs = pn.Tabs(sizing_mode="stretch_both")
        for name, marker in (("line", "line"), ("points", "scatter")):
            plot = figure(sizing_mode="stretch_both", x_axis_label=scan.motor)
            getattr(plot, marker)(scan.positions, scan.counts)
            tabs.append((name, pn.pane.Bokeh(plot, sizing_mode="stretch_both")))
        page = ElogSummaryPlots(f"scans/{scan.motor}", tabs)
        # As LUTE's tasks give them: run parameters and a page, together.
        return self.result({"best": best}, [{"best position": best}, page])
