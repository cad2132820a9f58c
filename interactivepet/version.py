"""The package version: the one place that states it; and the versions of what results depend on."""

__all__ = ["__version__", "list_versions"]

__version__ = "0.1.0"

_MEASURING = ("numpy", "scipy", "scikit-image", "connected-components-3d", "nibabel", "SimpleITK", "pydicom")
"""Packages that read images and measure."""


def list_versions() -> dict[str, str]:
    """List the versions of this package, of Python and of the packages that read images and measure."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"interactivepet": __version__, "Python": platform.python_version()}
    for name in _MEASURING:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # DICOM is an extra
            continue
    return versions
