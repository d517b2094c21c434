#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""200 runs of each survival mode; see survive.t."""

import os
import sys

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "survive.t")
os.environ.setdefault("SURVIVE_RUNS", "200")
if not os.environ.get("SPILLWAY_CHECK_ALL"):
    print("1..0 # SKIP runs in ./quickstart check --all")
    sys.exit(0)
os.execv(sys.executable, [sys.executable, path])
