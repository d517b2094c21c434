#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""200 runs of each survival mode; see survive.t."""

import os
import sys

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "survive.t")
os.environ.setdefault("SURVIVE_RUNS", "200")
os.execv(sys.executable, [sys.executable, path])
