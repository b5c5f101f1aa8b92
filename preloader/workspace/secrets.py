"""Names that say that a file is secret, or another program's own: they are refused before the disk is looked at.

Names are compared *folded*, so that none comes through in another spelling which some file system takes for the same:
letters' case, compatibility forms (full-width letters), invisible characters, and the trailing dots and spaces and the
short names (``GIT~1``) of Windows.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import PurePosixPath

from preloader.workspace.globs import Glob

_NAMES = (
    *(".git", ".hg", ".svn", ".bzr", ".jj"),  # a repository's insides may hold credentials, and are no work
    *(".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".password-store", ".terraform.d"),
    *("git~[0-9]", "gi[0-9a-f][0-9a-f][0-9a-f][0-9a-f]~[0-9]", "ssh~[0-9]", "env*~[0-9]"),
    *(".env*", "*.env", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys", "known_hosts"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg"),
    *(".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", ".gitconfig"),
    *(".dockercfg", ".dockerconfigjson", ".boto", ".s3cfg", ".vault-token", ".yarnrc.yml", ".*_history"),
    *("service-account*.json", "service_account*.json", "*.tfstate", "*.tfstate.*", "*.tfvars"),
)
_DATA = ("json", "yaml", "yml", "toml", "ini", "txt", "xml", "properties", "csv", "enc")  # code of that name is none
_SECRET = tuple(
    map(Glob, (*_NAMES, *(f"{stem}.{ending}" for stem in ("secret", "secrets", "credentials") for ending in _DATA)))
)


def folded(name: str) -> str:
    """Return a name as the most forgiving file system would compare it."""
    if not name.isascii():
        name = "".join(char for char in name if unicodedata.category(char) not in ("Cf", "Mn", "Cc"))
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return name.casefold().rstrip(". ").partition(":")[0].rstrip(". ")


def secret_part(path: PurePosixPath) -> str | None:
    """Return the part of a path by which it is secret, if it is."""
    return next(filter(is_secret, path.parts), None)


@lru_cache(maxsize=65_536)
def is_secret(name: str) -> bool:
    """Return whether a file or directory of this name is secret, wherever it lies."""
    plain = folded(name)
    return any(glob.matches(plain) for glob in _SECRET)
