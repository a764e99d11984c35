#!/usr/bin/env python3
"""Has a gateway that was built to record its profile do everything that a gateway mostly does, for a build that is
arranged by that profile: sessions and keys, good and bad, over HTTP/1.1, TLS and HTTP/2, bodies in both directions.

The profile is written where the binary was built to write it, when the gateway has drained and ended.
"""
import argparse, subprocess

from measures import WORKS, check, h2load
from proxies import Bench

BAD = ["cookie: openbin-access=a.b.c", "authorization: Bearer sk_openbin_" + 64 * "0", "accept: */*"]


def refused(bench, proxy, credential, requests):
    """Has it refuse so many requests, and fails where it lets one pass."""
    command = ["h2load", "-n", str(requests), "-c", "16", "--h1", "-H", credential, proxy.url(0, "/api/bins")]
    done = subprocess.run(bench.pinned(command, bench.load_core), capture_output=True, text=True, timeout=120)
    assert f" 0 2xx, 0 3xx, {requests} 4xx" in done.stdout, (credential, done.stdout, done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gateway", help="the gateway's binary")
    parser.add_argument("--requests", type=int, default=20_000, help="of each kind; fewer where each is large")
    options = parser.parse_args()
    bench = Bench(options.gateway)
    try:
        proxy = bench.start_gateway()
        check(bench, proxy)
        for work in WORKS:
            h2load(bench, proxy, work, max(64, options.requests // work.weight))
        for credential in BAD:
            refused(bench, proxy, credential, options.requests // 20)
        bench.stop(proxy.process)
    finally:
        bench.end()


if __name__ == "__main__":
    main()
