// SPDX-License-Identifier: BSD-2-Clause
// require("./examples/node") once, in the program and in each worker that
// makes garbage: from then on V8 collects when spillway is short of memory.
//
//   attached      whether it is asked; false: `reason` says why not
//   collections() how many collections there were
"use strict";

const binding = require("./build/spillway.node");

// Used where this Node does not export V8's own function. The flag is taken
// back, so that nobody else finds a gc() that was not asked for.
function exposed() {
  if (typeof globalThis.gc === "function")
    return globalThis.gc;
  const v8 = require("node:v8");
  v8.setFlagsFromString("--expose-gc");
  const gc = require("node:vm").runInNewContext("gc");
  v8.setFlagsFromString("--no-expose-gc");
  return gc;
}

const reason = binding.attach(exposed());

module.exports = {
  attached: reason === "",
  reason,
  collections: binding.collections,
};
