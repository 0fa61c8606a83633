"""pyoci: an OCI low-level runtime. This file names the version and imports nothing."""

__version__ = "0.1.0"
