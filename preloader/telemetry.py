"""Logging for the whole package: one standard-library logger, silent until the application configures it."""

from __future__ import annotations

import logging

logger = logging.getLogger("preloader")
logger.addHandler(logging.NullHandler())
