"""The first file that another Python interpreter runs for an analysis.

``python other_python.py MODULE:CLASS`` runs the analysis as ``python -m taskgrove.analysis.child``
does it with our own interpreter. The other interpreter needs none of our packages: this file lets
its imports of taskgrove come from the folder in which it stands. It never puts our
``site-packages`` on the other's path, whose libraries are made for another interpreter.

``python other_python.py --probe JSON`` tells, as JSON, whether the analysis could run.

The file is read by interpreters of any age before they are refused.
"""

import importlib.util
import json
import os
import sys

#: The oldest interpreter in which an analysis can run.
OLDEST = (3, 9)
#: What then runs the analysis. An old interpreter cannot read it.
_CHILD = "taskgrove.analysis.child"


class Carried:
    """Finds packages in places that are not on the path.

    Args:
        places: The file of each package or module, by its name.
    """

    def __init__(self, places: dict) -> None:  # type: ignore[type-arg]
        self.places = places

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:  # noqa: ARG002
        """Find a module as a finder of ``sys.meta_path`` does."""
        file = self.places.get(name)
        if file is None:
            return None
        inside = [os.path.dirname(file)] if os.path.basename(file) == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)


def find_more(search_path: list, carried: dict) -> None:  # type: ignore[type-arg]
    """Look in further places, after the interpreter's own.

    Args:
        search_path: Folders.
        carried: See :class:`Carried`.
    """
    sys.path += [place for place in search_path if place not in sys.path]
    if carried:
        sys.meta_path.append(Carried(carried))  # type: ignore[arg-type]


def _begin() -> None:
    """Have taskgrove found beside this file, and nothing else of that folder."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    package = os.path.join(os.path.dirname(here), "__init__.py")
    sys.meta_path.insert(0, Carried({"taskgrove": package}))  # type: ignore[arg-type]


def _probe(asked: dict) -> dict:  # type: ignore[type-arg]
    """Return what is known of this interpreter, and why the analysis could not run in it."""
    told = {"version": list(sys.version_info[:3]), "prefix": sys.prefix, "missing": None}
    if sys.version_info < OLDEST:
        return told
    find_more(asked["search_path"], asked["carried"])
    try:
        importlib.import_module(_CHILD).find_classes(asked["task"], asked["parameters_class"])
    except BaseException as exc:  # noqa: BLE001 - foreign code; its trouble is told
        cause = exc.__cause__ if type(exc).__name__ == "MissingExtraError" else None
        told["missing"] = "%s: %s" % (type(cause or exc).__name__, cause or exc)  # noqa: UP031
    return told


def _main() -> int:
    if sys.argv[1] == "--probe":
        told = json.dumps(_probe(json.loads(sys.argv[2])))
        sys.stdout.write("\n" + told + "\n")
        sys.stdout.flush()
        os._exit(0)  # no thread or exit handler of a library has a say
    status: int = importlib.import_module(_CHILD).main()
    return status


if __name__ != "taskgrove.analysis.other_python":  # also a process that multiprocessing spawned
    _begin()
if __name__ == "__main__":
    sys.exit(_main())
