"""Files that tools look at, and calls of tools on them."""

import asyncio

from tests.unit.workspace_tree import Desk

FILES = {
    "src/app.py": "import os\n\ndef app():\n    return os.name  # TODO\n",
    "src/deep/mod.py": "# todo: later\n",
    "web/a.ts": "let a = 1\n",
    "web/b.tsx": "let b = 2\n",
    "README.md": "hello\n",
    ".gitignore": "*.log\n",
    "x.log": "TODO secret\n",
    ".env": "TODO=1\n",
    "x.bin": b"\0TODO",
}


def call(root, name, catalogue=None, **arguments):
    async def main():
        async with Desk(root, catalogue) as desk:
            return await desk.call(name, **arguments)

    return asyncio.run(main())
