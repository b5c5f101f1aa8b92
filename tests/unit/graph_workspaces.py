"""Small workspaces, one a language, each in one text: ``-- path --``, then the file (Go's txtar)."""

PYTHON = """\
-- pyproject.toml --
-- src/shop/__init__.py --
from .cart import Cart
-- src/shop/cart.py --
import os, json
from . import money
from .money import Euro as E, cents
class Cart:
    pass
-- src/shop/money.py --
from __future__ import annotations
from typing import Any
Euro = 1
-- src/shop/api/views.py --
from ..cart import Cart
from ... import nothing
import shop.money as m
-- src/shop/api/__init__.py --
-- plugins/payment/card.py --
import shop
-- plugins/shipping/post.py --
from plugins.payment import card
import payment.card
-- tests/helper.py --
-- tests/test_cart.py --
import helper
from shop import Cart, money
import email
from queue import x
-- tests/queue/x.py --
-- tools/run.py --
def main():
    import shop.cart
    try:
        from shop.money import *
    except ImportError:
        import helper
"""

JAVASCRIPT = """\
-- package.json --
{"workspaces": ["packages/*"]}
-- tsconfig.base.json --
{"compilerOptions": {"baseUrl": ".", "paths": {"@ui/*": ["ui/src/*"], /* all */ "config": ["cfg/main.ts",],}}}
-- tsconfig.json --
{"extends": "./tsconfig.base", // there
}
-- packages/core/package.json --
{"name": "@acme/core", "exports": {".": {"import": "./dist/index.js"}, "./util/*": "./dist/util/*.js"}}
-- packages/core/src/index.ts --
export * from './util/text';
export { helper as h } from './util/num.js';
-- packages/core/src/util/text.ts --
import type { T } from '../types';
export const upper = (s: string) => s;
-- packages/core/src/util/num.ts --
export function helper() {}
-- packages/core/src/types.d.ts --
export interface T {}
-- packages/old/package.json --
{"name": "old", "main": "lib/start"}
-- packages/old/lib/start.js --
const { a, b: c } = require('./parts');
module.exports = () => import('@acme/core/util/text');
// require('./nothing')
const s = "require('./nothing')";
-- packages/old/lib/parts/index.jsx --
export default () => <p>{1}</p>;
-- packages/old/lib/nothing.js --
-- cfg/main.ts --
export enum Mode { A }
-- ui/src/button.tsx --
import React from 'react';
import { helper } from '@acme/core';
import old = require('old');
import cfg from 'config';
import * as t from 'packages/core/src/types';
export class Button extends React.Component { async render() { return <b/>; } }
-- ui/app.mts --
import { Button } from '@ui/button';
import './style.css';
import '../../outside';
import data from './data.json';
-- ui/style.css --
-- ui/data.json --
{}
"""

GO = """\
-- go.mod --
module example.org/shop

go 1.22

replace example.org/money => ./third/money
-- third/money/go.mod --
module example.org/money
-- third/money/euro.go --
package money
type Euro int
-- main.go --
package main
import (
	"fmt"
	m "example.org/money"
	"example.org/shop/cart"
)
func main() { fmt.Println(cart.New(), m.Euro(1), version) }
-- version.go --
package main
var version, other = "Total", 2
-- cart/cart.go --
package cart
// Total
func New() *Cart { s := `Total`; _ = s; return nil }
type Cart struct{}
func (c *Cart) Add() {}
-- cart/total.go --
package cart
func Total(c Cart) int { return 0 }
-- cart/cart_test.go --
package cart
func TestNew(t *T) { New(); helper() }
func helper() {}
"""

RUST = """\
-- Cargo.toml --
[workspace]
members = ["app", "text-kit"]
-- app/Cargo.toml --
[package]
name = "app"
-- app/src/main.rs --
mod config;
mod net;
#[path = "odd_name.rs"]
mod odd;
use text_kit::{words::Word, split};
fn main() { crate::net::http::get(); }
-- app/src/odd_name.rs --
-- app/src/config.rs --
use crate::net::{self, http::{Request as R, Response}};
pub struct Config;
-- app/src/net/mod.rs --
pub mod http;
pub use self::http::Request;
-- app/src/net/http.rs --
use super::super::config::Config;
pub struct Request;
pub fn get() {}
#[cfg(test)]
mod tests { use super::*; use super::super::super::config; }
-- app/tests/net.rs --
use app::x;
mod common;
-- app/tests/common/mod.rs --
-- text-kit/Cargo.toml --
[package]
name = "text-kit"
-- text-kit/src/lib.rs --
pub mod words;
pub fn split() {}
pub trait Kit { fn go(&self); }
-- text-kit/src/words.rs --
use crate::split;
pub struct Word;
"""

JAVA = """\
-- shop/src/main/java/org/acme/Cart.java --
package org.acme;
import org.acme.money.*;
import static org.acme.util.Text.upper;
import java.util.List;
public class Cart extends Base { Euro total; List<String> l; void add() { String s = "Unused"; } }
-- shop/src/main/java/org/acme/Base.java --
package org.acme;
abstract class Base { class Inner {} }
-- shop/src/main/java/org/acme/Unused.java --
package org.acme;
class Unused {}
-- shop/src/main/java/org/acme/money/Euro.java --
package org.acme.money;
public record Euro(int cents) {}
-- shop/src/main/java/org/acme/money/Pound.java --
package org.acme.money;
public enum Pound { A }
-- shop/src/main/java/org/acme/util/Text.java --
package org.acme.util;
public interface Text { static String upper() { return null; } }
-- shop/src/test/java/org/acme/CartTest.java --
package org.acme;
import org.acme.Cart;
import org.acme.Base.Inner;
class CartTest {}
"""
