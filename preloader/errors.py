"""The error tree. Every message names the offending value, where it came from, and what would be right.

::

    PreloaderError
    ├── HistoryError            a history cannot be read
    │   └── TooManyBadRecords   … because too large a share of it is malformed
    ├── ConfigurationError      settings, a registry or a recipe is wrong (also a ValueError)
    ├── BundleError             a saved predictor is damaged, of another kind, or of another version
    ├── ExportError             a trained model cannot be exported, or what was exported does not do the same
    ├── WorkError               divided work failed: a worker died, or its function raised what it should not
    ├── BusyError               a job that must not run twice runs already
    ├── MissingExtraError       an optional dependency is not installed (also an ImportError)
    ├── UnknownResourceError    no provider, or no such resource (also a KeyError)
    │   ├── RefusedPathError    … that may be looked at: the path leads out, is secret, or is ignored
    │   └── RefusedCallError    … that may run ahead: the tool is not listed, or its arguments are not as listed
    ├── LoadError               a resource could not be made ready
    │   ├── LoadTimeoutError    … in time (also a TimeoutError)
    │   ├── QuarantinedError    … and is not tried again for a while
    │   └── ConflictError       … because it conflicts with one that does not yield
    ├── LanguageModelError      a language model could not be asked, or its answer is not what was asked for
    │   ├── LanguageModelTimeoutError  … or did not come in time (also a TimeoutError)
    │   └── LanguageModelAnswerError   … namely that: the model was reached, and answered something else
    └── ClosedError             the manager is not running
"""

from __future__ import annotations

import importlib
from types import ModuleType


class PreloaderError(Exception):
    """Base of every error that this package raises on purpose."""


class HistoryError(PreloaderError):
    """A history cannot be read."""


class TooManyBadRecords(HistoryError):
    """Too large a share of a history's records is malformed."""


class ConfigurationError(PreloaderError, ValueError):
    """Settings, a component registry or a recipe is wrong.

    Attributes:
        field: The setting to blame, empty where none is.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class BundleError(PreloaderError):
    """A saved predictor is damaged, of another kind, or of another version."""


class ExportError(PreloaderError):
    """A trained model cannot be exported, or what was exported does not do the same."""


class WorkError(PreloaderError):
    """Work that was divided among workers failed: a worker died, or its function raised what it should not."""


class BusyError(PreloaderError):
    """A job that must not run twice at once runs already."""


class MissingExtraError(PreloaderError, ImportError):
    """An optional dependency is not installed."""


class UnknownResourceError(PreloaderError, KeyError):
    """No provider serves the kind, or the provider has no such resource."""

    __str__ = Exception.__str__  # KeyError would show the message's repr


class RefusedPathError(UnknownResourceError):
    """A path may not be looked at: it is malformed, leads out of the workspace, is secret, or is ignored."""


class RefusedCallError(UnknownResourceError):
    """A tool call may not run ahead: the operator has not listed it, or its arguments are not what was listed."""


class LoadError(PreloaderError):
    """A resource could not be made ready."""


class LoadTimeoutError(LoadError, TimeoutError):
    """A loader did not finish in time."""


class QuarantinedError(LoadError):
    """A resource failed repeatedly and is not tried again for a while."""


class ConflictError(LoadError):
    """A resource may not be resident together with one that is in use, or that is worth more."""


class LanguageModelError(PreloaderError):
    """A language model could not be asked, or its answer is not what was asked for."""


class LanguageModelTimeoutError(LanguageModelError, TimeoutError):
    """A language model did not answer in time."""


class LanguageModelAnswerError(LanguageModelError):
    """What a language model answered is not what was asked for."""


class ClosedError(PreloaderError):
    """The manager is not running."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: The module to import.
        extra: The extra of this package that brings it.

    Raises:
        MissingExtraError: It is not installed; the message says which extra to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{module} is needed for this and is not installed: pip install 'preloader[{extra}]'", name=module
        ) from None
