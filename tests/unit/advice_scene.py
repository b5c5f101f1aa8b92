"""A workspace whose files and tools advice may name, and what is let in and shown of it."""

from preloader.workspace.catalogue import Tool, ToolCatalogue, builtin_tool
from preloader.workspace.providers import WorkspaceProviders
from tests.unit.workspace_tree import write

INDEX = ("src/cart.py", "src/prices.py", "README.md")
NOTHING = {"files": [], "calls": []}
CART = {"files": [{"path": "src/cart.py", "probability": 0.8}], "calls": []}


def call(tool="Read", /, probability=0.5, **arguments):
    pairs = [{"name": name, "value": value} for name, value in arguments.items()]
    return {"tool": tool, "arguments": pairs, "probability": probability}


def providers_of(root):
    write(root, dict.fromkeys(INDEX, "x = 1\n"))
    write(root, {".gitignore": "build/\n"})
    writing = Tool(name="Write", run=lambda reading, told: None, side_effects="writes")
    read = builtin_tool("read_file", "Read", {"file_path": "path"}, ["description"])
    return WorkspaceProviders(root, ToolCatalogue([read, builtin_tool("grep"), writing]))
