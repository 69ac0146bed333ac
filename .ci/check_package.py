"""Build the package and check what users would get: complete archives, and a light install."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

SOURCE = Path("src")
SDIST_NEEDS = (
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "constraints.txt",
    "README.md",
    "pyproject.toml",
    "tests/conftest.py",
)


class PackageError(Exception):
    """Something that a user of the package would stumble over."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; raise PackageError with that when it fails."""
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode != 0:
        raise PackageError(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{output}")
    return output


def check_archives(wheel: Path, sdist: Path) -> None:
    """Compare both archives with the tree."""
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    package = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    problems = [f"the wheel lacks {name}" for name in sorted(package - in_wheel)]
    needed = [*SDIST_NEEDS, *(f"src/{name}" for name in sorted(package))]
    problems += [f"the sdist lacks {name}" for name in needed if name not in in_sdist]
    if "taskgrove/py.typed" not in in_wheel:
        problems.append("the wheel lacks taskgrove/py.typed: its types would not be seen")
    if not any(name.endswith((".yaml", ".yml")) for name in in_wheel):
        problems.append("the wheel carries no command map (*.yaml): the demo could not run")
    roots = {name.split("/", 1)[0] for name in in_wheel}
    foreign = sorted(
        root for root in roots - {"taskgrove", "taskgrove_demo"} if not root.endswith(".dist-info")
    )
    problems += [f"the wheel holds {root}, which is no part of the package" for root in foreign]
    if problems:
        raise PackageError("\n".join(problems))
    print(f"{wheel.name}: {len(in_wheel)} files; {sdist.name}: {len(in_sdist)} files; complete")


def check_light_install(wheel: Path, work: Path) -> None:
    """Install the wheel without extras: it imports, and says what its command line lacks."""
    run(sys.executable, "-m", "venv", work / "bare")
    python = work / "bare" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", "constraints.txt", wheel)
    # In an empty folder, so that only what was installed can be imported.
    run(python, "-c", "import taskgrove", cwd=work)
    try:
        run(python, "-m", "taskgrove", "version", cwd=work)
    except PackageError as problem:
        if "pip install 'taskgrove[" not in str(problem) or "Traceback" in str(problem):
            raise
        print("installed without extras it imports; its command line names the extra it needs")
        return
    raise PackageError(
        "the command line ran without its extra: is a dependency of the core too many?"
    )


def main() -> int:
    """Return 0 when all is well, else print the problem and return 1."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            # The build backend is that of constraints.txt, not the newest one.
            run(
                sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", ".",
            )  # fmt: skip
            [wheel] = (work / "dist").glob("*.whl")
            [sdist] = (work / "dist").glob("*.tar.gz")
            check_archives(wheel, sdist)
            check_light_install(wheel, work)
        except PackageError as problem:
            print(problem)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
