# SPDX-License-Identifier: BSD-2-Clause
"""The survival modes: the survivor's arguments for each, and the verdict.

Usage: from survival import MODES, arguments, judge
Called by the survive runner here and by the virtual machine's test. Sizes are
in MiB and in the proportions of a 400 MiB limit.
"""

MODES = "abcde"


def arguments(mode, limit, rate=2000, refill=100):
    """What the survivor program is started with."""
    words = ["--limit", limit, "--heap", limit * 3 // 4, "--map",
             limit * 3 // 4, "--cache", limit * 7 // 8, "--neighbour",
             limit // 2, "--neighbour-rate", rate, "--refill", refill]
    if mode == "b":
        words += ["--keep", 200]
    if mode == "e":
        words += ["--hold-lock"]
    words.append("burst" if mode in "ab" else "cache")
    return [str(word) for word in words]


def judge(mode, limit, run, high=0):
    """Why a run of spillway is no success; empty where it is one.

    The limit that counts for the cache is memory.high, in percent, where set.
    """
    if run["killed"]:
        return "killed"
    if run["rc"] or run.get("survived") != 1:
        return f"exit code {run['rc']}: {run.get('error', run['stderr'])}"
    if mode in "ab":
        if run["rss_start_mib"] < limit * 290 / 400:
            return f"purged early: {run['rss_start_mib']:.0f} MiB at the start"
        return ""
    if run["shrinker"] != 1:
        return "osv_register_shrinker is not there"
    least = limit * (high or 100) // 100 - limit // 2 - 64
    if run["cache_end_mib"] < least:
        return f"cache of {run['cache_end_mib']:.0f} MiB, {least:.0f} expected"
    if run["cache_min_mib"] < limit / 25:
        return f"the cache fell to {run['cache_min_mib']:.1f} MiB"
    return ""
