"""The files of a container for Grand Challenge that say how it is built, started, tested and saved.

The names of the scripts are those of Grand Challenge's own templates. `$NAME` and the like are replaced.
"""

from __future__ import annotations

from string import Template

from interactivepet.model.description import ModelDescription
from interactivepet.version import __version__

__all__ = ["make_files"]

_DOCKERFILE = """\
FROM python:$PYTHON-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE HOME=/tmp

RUN groupadd --system user && useradd --system --no-log-init --gid user user
WORKDIR /opt/app

COPY requirements.txt .
RUN python -m pip install --no-cache-dir -r requirements.txt

COPY interactivepet interactivepet
COPY model model
COPY process.py .

USER user
ENTRYPOINT ["python", "process.py"]
"""

_PROCESS = '''\
"""Segment one case of autoPET V: PET, CT and clicks from /input, the mask to /output."""

import sys
from pathlib import Path

from interactivepet.cli.challenge_case import main

if __name__ == "__main__":
    sys.exit(main(["--model", str(Path(__file__).resolve().parent / "model"), *sys.argv[1:]]))
'''

_BUILD = """\
#!/bin/sh
# Builds the image. Needs the network.
set -eu
cd "$(dirname "$0")"
docker build --platform linux/amd64 --tag "$NAME" .
"""

_TEST = """\
#!/bin/sh
# Runs the image on one case, as Grand Challenge does: ./do_test_run.sh INPUT OUTPUT [option of docker run ...]
# INPUT holds images/pet/*.mha, images/ct/*.mha and perhaps lesion-clicks.json. With a GPU add: --gpus all
set -eu
input=$(realpath "$1")
mkdir -p "$2"
output=$(realpath "$2")
shift 2
chmod a+rwx "$output"
docker run --rm --network none --cap-drop ALL --security-opt no-new-privileges --memory 30g --shm-size 2g "$@" \\
    --volume "$input:/input:ro" --volume "$output:/output" "$NAME"
find "$output" -name '*.mha'
"""

_SAVE = """\
#!/bin/sh
# Writes the image as a file to upload.
set -eu
cd "$(dirname "$0")"
docker save "$NAME" | gzip -c > "$NAME.tar.gz"
ls -l "$NAME.tar.gz"
"""

_README = """\
# $NAME: a container for autoPET V

Made by interactivepet $VERSION of the task $TASK. Research software, not a medical device.

It segments one case: it reads `/input/images/pet/*.mha` (SUV)$CT and, where it is there,
`/input/lesion-clicks.json` ("Multiple points" named `tumor` or `background`, voxel indices of the PET from 0), and
writes `/output/images/tumor-lesion-segmentation/NAME.mha` on the grid of the PET, where NAME is the PET's. Without
clicks it segments automatically. It needs no network.

    ./do_build.sh
    ./do_test_run.sh INPUT OUTPUT --gpus all
    ./do_save.sh

INPUT is a folder with `images/pet`, `images/ct` and perhaps `lesion-clicks.json`. Upload the file that `do_save.sh`
writes. Without a GPU leave `--gpus all` out; then a whole body takes minutes.

Without Docker, where the packages of `requirements.txt` are installed:

    python process.py --input INPUT --output OUTPUT

Averaging over mirrored inputs takes eight times as long as one prediction. Where the time limit is short, write
`ENTRYPOINT ["python", "process.py", "--no-tta"]` in the Dockerfile.

`interactivepet` is a copy of the package (MIT). `model/MODEL_CARD.md` says what the model was trained on and what to
expect of it, `model/LICENSE` under which licence its weights may be used.
"""


def make_files(description: ModelDescription, *, name: str, python: str) -> dict[str, str]:
    """Make the text files of a container, without its requirements.

    Args:
        description: of its model.
        name: of the container, in lower case.
        python: version such as `3.11`.

    Returns:
        Name -> content; those that end in `.sh` are scripts to run.
    """
    has_ct = len(description.inputs.channels) > 1
    values = {
        "NAME": name,
        "PYTHON": python,
        "VERSION": __version__,
        "TASK": description.plans.task,
        "CT": ", `/input/images/ct/*.mha` (HU, on any grid)" if has_ct else "; it ignores the CT",
    }
    texts = {
        "Dockerfile": _DOCKERFILE,
        "process.py": _PROCESS,
        "do_build.sh": _BUILD,
        "do_test_run.sh": _TEST,
        "do_save.sh": _SAVE,
        "README.md": _README,
    }
    return {file: Template(text).safe_substitute(values) for file, text in texts.items()}
