"""What an installed kit needs: the packages of requirements.txt that notebooks import, without upper bounds.

`kit.py` installs requirements.txt itself, with the versions of constraints.txt. Whoever installs the kit as a package,
as the set-up cell of a lab does in Colab, has an environment already, and nothing in it may be downgraded.
"""

import re
from pathlib import Path

from setuptools import setup

LISTED = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8").splitlines()
FOR_LABS = re.compile(r"#\s*(all labs|labs? \d|extras)\b")  # the reason that stands behind such a package
# It asks for one version of scikit-learn alone; set-up cells install it without its dependencies.
NOT_REQUIRED = ("alt-profanity-check",)


def required(lines):
    """Requirements without their upper bounds, of the packages that notebooks import."""
    chosen = [line for line in lines if FOR_LABS.search(line) and not line.startswith(NOT_REQUIRED)]
    return [re.sub(r",\s*<[\w.]+", "", line.partition("#")[0]).strip() for line in chosen]


# The lab on applications searches the kit's own pages; an installed kit has them beside its packages.
PAGES = sorted(path.as_posix() for path in Path("docs").glob("*.md"))

setup(install_requires=required(LISTED), data_files=[("share/genai-lab-kit/docs", PAGES)])
