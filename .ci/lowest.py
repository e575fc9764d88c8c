"""Print the oldest releases that pyproject.toml allows, as pins for pip.

    python .ci/lowest.py EXTRA... [--python PYTHON]

prints one ``name==version`` for each dependency of the package and of the extras, with its lower bound for the
version. What does not apply to PYTHON (by default the one that runs this) because of a marker is left out.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.version import Version

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"

# What a marker may ask of another interpreter; the rest is the same for all interpreters of a machine.
ASK = """
import json, platform
print(json.dumps({
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "python_full_version": platform.python_version(),
    "platform_python_implementation": platform.python_implementation(),
}))
"""


def pin(requirement: Requirement) -> str:
    """Return the requirement with its lower bound as its only version."""
    bounds = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "~=", "==")]
    if not bounds:
        raise SystemExit(f"{PYPROJECT.name}: {requirement} has no lower bound")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}=={max(bounds)}"


def pins(extras: list[str], environment: dict[str, str]) -> list[str]:
    """Return the pins for the package and some of its extras, each once."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    requirements = map(Requirement, lines)
    return sorted({pin(each) for each in requirements if each.marker is None or each.marker.evaluate(environment)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extra", nargs="*")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    answer = subprocess.run([options.python, "-c", ASK], check=True, capture_output=True, text=True)
    environment = {**default_environment(), **json.loads(answer.stdout)}
    sys.stdout.write("\n".join(pins(options.extra, environment)) + "\n")


if __name__ == "__main__":
    main()
