"""Build and dependencies of interactivepet; the settings of its tools are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

COMMANDS = (
    "import",
    "generate_dataset_json",
    "verify",
    "mimic_interactions",
    "plan_and_process",
    "compare_plans",
    "train",
    "train_nninteractive",
    "postprocessing",
    "predict",
    "segment",
    "evaluate",
    "measure",
    "simulate",
    "export",
    "export_nninteractive",
    "export_model",
    "install_model",
    "models",
    "test",
    "run",
    "ui",
    "demo",
    "train_starter",
)
"""Each is the console script `interactivepet_NAME` and the module `interactivepet.cli.NAME`, but for `MODULES`."""

MODULES = {"import": "import_task"}
"""A word of Python's own cannot name a module."""

SCRIPTS = [f"interactivepet_{name} = interactivepet.cli.{MODULES.get(name, name)}:main" for name in COMMANDS]

REQUIREMENTS = [
    "batchgenerators>=0.25",
    "batchgeneratorsv2>=0.3",
    "blosc2>=3.3",
    "connected-components-3d>=3.12",
    "dynamic_network_architectures>=0.4.1",
    "edt>=2.4",
    "filelock>=3.12",
    "jinja2>=3.1",
    "matplotlib>=3.9",
    "mlflow>=3.1,<4",
    "nibabel>=5.2",
    "nnInteractive>=2.6,<3",
    "numpy>=1.26",
    "pillow>=10",
    "pydantic>=2.7",
    "python-dotenv>=1.0",
    "pyyaml>=6",
    "rich>=13",
    "safetensors>=0.4.3",
    "scikit-image>=0.22",
    "scipy>=1.12",
    "SimpleITK>=2.3",
    "torch>=2.5",
    "tqdm>=4.66",
]

DICOM = [
    "highdicom>=0.23",
    "pydicom>=3",
    "pylibjpeg>=2",
    "pylibjpeg-libjpeg>=2.1",
    "pylibjpeg-openjpeg>=2",
    "pylibjpeg-rle>=2",
]
"""Reading PET series, RTSTRUCT and SEG, and writing the latter two.

The plugins of pylibjpeg decode what a PACS compresses. That of JPEG and JPEG Lossless, pylibjpeg-libjpeg, is under
GPL-3.0; the others are under MIT. They are installed beside the package and are no part of it.
"""

MONAI = ["monai[einops]>=1.5"]
"""UNETR and SwinUNETR."""

SCALE = ["dask>=2024.8", "distributed>=2024.8", "dask-jobqueue>=0.9"]
"""Folds and cases on a cluster."""

EXTRAS = {
    "dicom": DICOM,
    "scale": SCALE,
    "monai": MONAI,
    "dev": [
        *DICOM,
        *MONAI,
        *SCALE,
        "hypothesis>=6.100",
        "import-linter>=2.1",
        "mirp>=2.5",
        "mypy>=1.14",
        "pytest>=8.2",
        "pytest-cov>=5",
        "pytest-xdist>=3.6",
        "ruff>=0.9",
        "scipy-stubs>=1.14",
        "surface-distance>=0.1",
        "types-tqdm>=4.66",
    ],
}


def read_version() -> str:
    """Read the version without importing the package, whose requirements may not be there yet."""
    text = (ROOT / "interactivepet" / "version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError('interactivepet/version.py has no line __version__ = "..."')
    return match.group(1)


def read_readme() -> str:
    """Give the README as the long description; a checkout without one can still be installed."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.is_file() else ""


setup(
    name="interactivepet",
    version=read_version(),
    description="A self-configuring pipeline for interactive PET, PET/CT and SPECT segmentation",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["interactivepet", "interactivepet.*"]),
    package_data={
        "interactivepet": ["py.typed"],
        "interactivepet.model": ["shipped/**"],
        "interactivepet.reporting": ["templates/*.j2"],
    },
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": SCRIPTS},
)
