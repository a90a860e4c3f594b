"""Write constraints.txt: exact versions, from this environment, of all that our requirements bring.

    python tools/pin_requirements.py

Run it in an environment in which the tests have passed. Packages that requirements*.txt pin themselves
are not repeated; builds (+cpu, +cu130) are left out, since one file serves every machine.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# Of these, what they bring along is pinned too.
WHOLE = ("requirements.txt", "requirements-gpu.txt", "requirements-dev.txt")
BARE = ("requirements-nodeps.txt",)


def pinned(path: Path) -> list[Requirement]:
    """The requirements written in a file."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Name and version of everything that ``wanted`` needs, as installed here."""
    found: dict[str, str] = {}
    waiting = list(wanted)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        known = name in found
        found[name] = installed.version.partition("+")[0]
        if known and not requirement.extras:
            continue
        extras = requirement.extras or {""}
        for line in installed.requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({**default_environment(), "extra": extra}) for extra in extras
            ):
                waiting.append(needed)
    return found


def main() -> None:
    """Write the file."""
    whole, bare = ([requirement for name in names for requirement in pinned(ROOT / name)] for names in (WHOLE, BARE))
    direct = {canonicalize_name(requirement.name) for requirement in whole + bare}
    brought = closure(whole)
    lines = [f"{name}=={version}" for name, version in sorted(brought.items()) if name not in direct]
    head = "# What requirements*.txt bring along; written by tools/pin_requirements.py.\n"
    (ROOT / "constraints.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
