"""Components and files as resources: the registry, its loaders, and the providers that make them ready."""
