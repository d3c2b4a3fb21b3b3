"""The version of the distribution, in the one place that the package and its metadata read."""

from typing import Final

VERSION: Final = "0.1.0"
