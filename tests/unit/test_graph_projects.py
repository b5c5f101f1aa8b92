"""Imports within projects as they are laid out in practice."""

import pytest

from tests.unit.graph_scene import graph_of, unpacked

REFERENCES = """\
-- tsconfig.json --
{"files": [], "references": [{"path": "./tsconfig.app.json"}, {"path": "./tsconfig.node.json"}]}
-- tsconfig.app.json --
{"compilerOptions": {"baseUrl": ".", "paths": {"@/*": ["src/*"]}}}
-- tsconfig.node.json --
{}
-- src/main.ts --
import { a } from '@/a';
-- src/a.ts --
"""
EXTENDS = """\
-- packages/config/package.json --
{"name": "@acme/config"}
-- packages/config/base.json --
{"compilerOptions": {"paths": {"~/*": ["../app/src/*"]}}}
-- packages/config/strict.json --
{}
-- packages/app/tsconfig.json --
{"extends": ["@acme/config/base", "../config/strict.json"]}
-- packages/app/src/main.ts --
import { a } from '~/a';
-- packages/app/src/a.ts --
"""
MAVEN = """\
-- core/src/main/java/org/acme/Service.java --
package org.acme;
public class Service {}
-- other/src/main/java/org/acme/Service.java --
package org.acme;
public class Service {}
-- core/src/test/java/org/acme/ServiceIT.java --
package org.acme;
class ServiceIT { Service s; }
-- web/src/main/java/org/web/Page.java --
package org.web;
import org.acme.*;
class Page { Only o; }
-- other/src/main/java/org/acme/Only.java --
package org.acme;
public class Only {}
"""
CRATES = """\
-- kit/Cargo.toml --
[package]
name = "text-kit"
-- kit/src/lib.rs --
pub mod words;
pub fn split() {}
-- kit/src/words.rs --
pub fn join() {}
-- app/Cargo.toml --
[package]
name = "app"
-- app/src/main.rs --
fn main() { let a = text_kit::split::<u8>(); app::run(a); }
-- app/src/lib.rs --
pub fn run() {} // text_kit::split
const NAME: &str = "text_kit::split";
const RAW: &str = r#"use "text_kit::split"#;
-- app/examples/demo.rs --
extern crate app;
use text_kit::words::{self, join};
fn main() { text_kit::words::join(); }
"""
RENAMED = """\
-- kit/Cargo.toml --
[package]
name = "text-kit"
[lib]
path = "source/kit.rs"
-- kit/source/kit.rs --
pub mod words;
-- kit/source/words.rs --
pub fn join() { crate::words::join(); }
-- app/Cargo.toml --
[package]
name = "app"
[dependencies]
kit = { package = "text-kit", path = "../kit" }
-- app/src/main.rs --
use kit::words::join;
-- other/Cargo.toml --
[package]
name = "other"
-- other/src/lib.rs --
use text_kit::words;
"""
PROJECTS = {
    "a tsconfig.json that refers to others": (REFERENCES, {"src/main.ts": {"src/a.ts": ("a",)}}),
    "one that extends a list, and a package": (
        EXTENDS,
        {"packages/app/src/main.ts": {"packages/app/src/a.ts": ("a",)}},
    ),
    "a Java package in several source roots": (
        MAVEN,
        {
            "core/src/test/java/org/acme/ServiceIT.java": {"core/src/main/java/org/acme/Service.java": ("Service",)},
            "web/src/main/java/org/web/Page.java": {"other/src/main/java/org/acme/Only.java": ("Only",)},
        },
    ),
    "a crate under another name, with its library in another place": (
        RENAMED,
        {
            "app/src/main.rs": {"kit/source/words.rs": ("join",)},
            "other/src/lib.rs": {"kit/source/words.rs": ()},
            "kit/source/kit.rs": {"kit/source/words.rs": ()},
        },
    ),
    "paths of other crates in Rust code": (
        CRATES,
        {
            "app/src/main.rs": {"app/src/lib.rs": ("run",), "kit/src/lib.rs": ("split",)},
            "app/src/lib.rs": {},
            "app/examples/demo.rs": {"app/src/lib.rs": (), "kit/src/words.rs": ()},
        },
    ),
}


@pytest.mark.parametrize("name", PROJECTS)
def test_imports_of_a_project_lead_to_its_files(tmp_path, name):
    text, expected = PROJECTS[name]
    with graph_of(tmp_path, unpacked(text)) as index:
        assert {path: index.imports(path) for path in expected} == expected
