"""Which names are those of files, when nothing but the name is known."""

from __future__ import annotations

import re

_EXTENSIONS = (
    "adoc astro bash bat c cc cfg cjs cmake conf cpp cs css csv cts cxx dart diff dockerfile ejs ex exs fish gif go "
    "gql gradle graphql groovy h hbs hcl hh hpp hs htm html ico ini ipynb j2 java jl jpeg jpg js json json5 jsonc "
    "jsonl jsx kt kts less lock lua md mdx mjs mk ml mli mm mts nim nix parquet patch pdf php pl plist png prisma "
    "properties proto ps1 pug py pyi pyx rb rs rst sass scala scss sh snap sol sql sqlite svelte svg swift tf tfvars "
    "tmpl toml tpl ts tsv tsx txt vue wasm webp xml yaml yml zig zsh"
)
EXTENSIONS = frozenset(_EXTENSIONS.split())
"""Extensions that make a bare word the name of a file. Those that code uses for members too (``console.log``) miss."""

_NAMES = (
    "Brewfile BUILD CHANGELOG CODEOWNERS Containerfile CONTRIBUTING Dockerfile Gemfile go.mod go.sum go.work "
    "Jenkinsfile Justfile LICENSE Makefile NOTICE Pipfile Procfile Rakefile README Vagrantfile WORKSPACE"
)
NAMES = frozenset(_NAMES.split())
"""Files whose names have no telling extension."""

_DOTFILES = (
    ".babelrc .bashrc .browserslistrc .dockerignore .editorconfig .env .envrc .eslintignore .eslintrc .flake8 "
    ".gitattributes .gitignore .gitmodules .mailmap .npmignore .npmrc .nvmrc .prettierignore .prettierrc .zshrc"
)
DOTFILES = frozenset(_DOTFILES.split())
"""Files whose names begin with a dot, and are named so commonly that a bare word is one."""

IMPORTABLE = (
    "",
    ".py",
    ".ts",
    ".tsx",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".d.ts",
    ".rs",
    ".java",
    ".kt",
    ".go",
    ".vue",
    ".svelte",
)
"""What an import leaves away at the end of a file's name, the likeliest first."""

PACKAGES = ("__init__.py", "index.ts", "index.tsx", "index.js", "index.jsx", "mod.rs")
"""The files that stand for their directory where it is imported."""

_EXTENSION = re.compile(r"(?=[0-9]*+[A-Za-z])[A-Za-z0-9]{1,10}")
_PART = re.compile(r"[a-z][a-z0-9]*")
_TELLING = EXTENSIONS.union(_PART.findall(f"{_NAMES} {_DOTFILES}".lower()))
_DOTFILE = re.compile(r"\.[a-z][\w.-]{2,40}")


def is_file_name(name: str) -> bool:
    """Return whether ``name`` is surely meant as a file's, though it stands without a directory."""
    stem, _, extension = name.rpartition(".")
    if stem and extension.lower() in EXTENSIONS:
        return True
    return name in NAMES or (name.startswith(".") and "." + name[1:].partition(".")[0] in DOTFILES)


def may_hold_file_name(word: str) -> bool:
    """Return whether `is_file_name` may be true of a part of ``word``: most words of code are done with at that."""
    return not _TELLING.isdisjoint(_PART.findall(word.lower()))


def may_be_file_name(name: str) -> bool:
    """Return whether ``name`` at the end of a path is one of a file rather than of a directory."""
    stem, dot, extension = name.rpartition(".")
    if stem:
        return _EXTENSION.fullmatch(extension) is not None
    return name in NAMES or (bool(dot) and _DOTFILE.fullmatch(name) is not None)
