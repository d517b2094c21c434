// SPDX-License-Identifier: BSD-2-Clause
// require("./examples/node") once, in the program and in each worker that
// makes garbage: from then on V8 collects when spillway is short of memory.
//
//   attached      whether it is asked; false: `reason` says why not
//   collections() how many collections there were
"use strict";

const binding = require("./build/spillway.node");

// Where this Node does not export V8's own function. The flag is the
// process's, and stays: workers that start meanwhile want it, too.
function exposed() {
  if (typeof globalThis.gc === "function")
    return globalThis.gc;
  require("node:v8").setFlagsFromString("--expose-gc");
  return require("node:vm").runInNewContext("gc");
}

const reason = binding.attach(binding.direct ? null : exposed());

module.exports = {
  attached: reason === "",
  reason,
  collections: binding.collections,
};
