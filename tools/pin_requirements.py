"""Write constraints.txt: exact versions, from this environment, of all that our requirements bring.

    python tools/pin_requirements.py

Run it in an environment in which the tests have passed. Packages that requirements.txt pins itself
are not repeated; builds (+cpu, +cu130) are left out, since one file serves every machine.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FILES = ("requirements.txt", "requirements-nodeps.txt", "requirements-dev.txt")


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
    own = {name: pinned(ROOT / name) for name in FILES}
    direct = {canonicalize_name(requirement.name) for listed in own.values() for requirement in listed}
    brought = closure(own["requirements.txt"] + own["requirements-dev.txt"])
    lines = [f"{name}=={version}" for name, version in sorted(brought.items()) if name not in direct]
    head = "# What requirements.txt brings along; written by tools/pin_requirements.py.\n"
    (ROOT / "constraints.txt").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
