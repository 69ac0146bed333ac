"""The component manager of the map beside it."""

from pathlib import Path


class Steps:
    def well(self):
        return 0, "fine"

    def says(self):
        return 0, {"offset": 3, "name": "ring"}

    def badly(self):
        return 3, "no lock"

    def lamp(self):
        return (3, "the lamp is off") if Path("lamp-off").exists() else (0, "lit")

    def breaks(self):
        raise ValueError("frame 12 holds no peaks")

    def takes(self, argument):
        return 0, f"{len(argument)} values"

    def until_aborted(self, task_callback=None, task_abort_event=None):
        if not Path("slow").exists():
            return 0, "not slow any more"
        task_callback(progress=10)
        task_abort_event.wait()
        return 7, "stopped"

    def hostile(self):
        signs = "\x1b[31m here \u202e\u200b \udcff 'quoted' \"twice\" <b> & $(id)"
        return 3, f"no [red]lock[/red] {signs}\r\nline 2"

    def endless(self):
        return 3, "x" * 30_000
