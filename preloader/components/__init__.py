"""Components and files as resources: the registry, its loaders, and the providers that make them ready."""

from preloader.components.component import Component
from preloader.components.contents import FileContent
from preloader.components.files import FileProvider
from preloader.components.provider import RegistryProvider
from preloader.components.registry import ComponentRegistry

__all__ = ["Component", "ComponentRegistry", "FileContent", "FileProvider", "RegistryProvider"]
