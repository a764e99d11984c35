#!/usr/bin/env python3
"""What a request costs each of several proxies that stand in front of the same instance: CPU time of their processes,
side by side on this machine, in alternating rounds.

haproxy checks what the gateway checks (a session's signature and time, or a key's SHA-256 among 10,000) and stamps
who it is; nginx and "haproxy, open" check nothing. The gateway runs with everything on: metrics, access log to a file,
last use, limits, timeouts. Every proxy must answer rightly before it is measured, and under load. The proxies have the
first core, load and instance the second. Wants haproxy, nginx and h2load; counts system calls where strace is.

Ratios are taken within each round, then their median: they can be repeated, times on a shared machine cannot.
"""
import argparse, json, os, platform, statistics, subprocess, sys, time

from measures import CROWDS, WORKS, check, cost, idle_memory, latency, system_calls
from proxies import Bench

REFERENCE = "haproxy"


class Plan:
    """How much of everything, within a limit of time."""

    def __init__(self, options):
        quick = options.quick
        self.rounds = options.rounds or (2 if quick else 5)
        self.requests = options.requests or (4_000 if quick else 20_000)
        self.idle = 300 if quick else 1_000
        self.latency_rounds = 1 if quick else 3
        self.rate = 1_000
        self.ends = time.monotonic() + (options.limit or (110 if quick else 580))

    def has(self, seconds, what):
        """Whether there is time for something; says so where there is none."""
        if time.monotonic() + seconds < self.ends:
            return True
        say(f"no time left for {what}")
        return False


def costs(bench, proxies, plan):
    """CPU of every work by every proxy, round by round. What is kept for the rest of the time is not used up here."""
    spent, took = {}, 0
    for turn in range(plan.rounds + 1):
        began = time.monotonic()
        if turn > 1 and not plan.has(took + 45, f"more than {turn - 1} rounds"):
            break
        for work in WORKS:
            for proxy in proxies if turn % 2 else reversed(proxies):
                if not work.suits(proxy):
                    continue
                # The first turn warms everything up, and does not count.
                one = cost(bench, proxy, work, plan.requests if turn else plan.requests // 10)
                if turn:
                    spent.setdefault(work.name, {}).setdefault(proxy.name, []).append(one)
        took = time.monotonic() - began
        say(f"round {turn} of {plan.rounds}, {took:.0f} s" if turn else "warm")
    return spent


def scaling(bench, plan):
    """CPU of a request with one worker and with two, not pinned to a core."""
    found = {}
    for make in (bench.haproxy, bench.openbin_gateway):
        for workers in (1, 2):
            proxy = make(workers)
            for pid in proxy.pids():
                subprocess.run(["taskset", "-a", "-p", "-c", f"0-{(os.cpu_count() or 1) - 1}", str(pid)], check=True, stdout=subprocess.DEVNULL)
            try:
                cost(bench, proxy, WORKS[0], plan.requests // 10)
                rounds = [cost(bench, proxy, WORKS[0], plan.requests) for _ in range(3)]
            finally:
                bench.stop(proxy.process)
            found.setdefault(proxy.name, {})[workers] = statistics.median(rounds)
    return found


def measure(bench, plan):
    proxies = bench.start()
    for proxy in proxies:
        check(bench, proxy)
        say(f"{proxy.name} answers rightly")
    results = {"idle": {proxy.name: idle_memory(bench, proxy, plan.idle) for proxy in proxies}}
    results["cost"] = costs(bench, proxies, plan)
    if plan.has(20, "latency"):
        results["latency"] = {}
        for tls in (0, 1):
            for proxy in proxies:
                figures = latency(bench, proxy, plan.rate, 1, plan.latency_rounds, tls)
                results["latency"].setdefault(proxy.name, []).append(figures)
    if plan.has(15, "system calls"):
        calls = min(plan.requests, 4_000)
        counted = {proxy.name: [system_calls(bench, proxy, work, calls) for work in (WORKS[0], WORKS[2])] for proxy in proxies}
        results["calls"] = {name: both for name, both in counted.items() if None not in both}
    if plan.has(20, "many connections"):
        judges = [proxy for proxy in proxies if proxy.judges]
        rounds = [{(proxy.name, work.name): cost(bench, proxy, work, 2 * plan.requests + int(work.name))
                   for work in CROWDS for proxy in judges} for _ in range(plan.latency_rounds)]
        results["crowds"] = {proxy.name: [statistics.median(one[proxy.name, work.name] for one in rounds) for work in CROWDS]
                             for proxy in judges}
    if bench.load_core is not None and plan.has(15, "two workers"):
        results["scaling"] = scaling(bench, plan)
    return results


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def report(results, plan):
    reference, names = results["cost"], list(results["idle"])
    def cell(work, name):
        own = reference[work].get(name)
        if not own:
            return "–"
        ratio = statistics.median(one / other for one, other in zip(own, reference[work][REFERENCE]))
        return f"{statistics.median(own):,.1f} ({ratio:.2f})"
    rounds = len(reference[WORKS[0].name][REFERENCE])
    print(f"CPU time of a request in microseconds, and against {REFERENCE}'s in the same round (medians of {rounds} rounds)\n")
    table(["proxy", *reference], [[name, *[cell(work, name) for work in reference]] for name in names])
    rows = []
    calls, idle = results.get("calls", {}), results["idle"]
    for name in names:
        row = [name, f"{idle[name]:.1f} KiB ({idle[name] / idle[REFERENCE]:.2f})"]
        row += [f"{count:.2f}" for count in calls[name]] if name in calls else ["–", "–"]
        rows.append(row)
    table(["proxy", "idle TLS connection", "system calls", "system calls, TLS"], rows)
    if "latency" in results:
        print(f"Latency at {plan.rate} requests a second, from when each was due; in brackets what the proxy adds to the instance's own (µs)\n")
        show = lambda each, at: f"{each[at]:,.0f} ({each['added_' + at]:+,.0f})"
        table(["proxy", "p50", "p99", "p50, TLS", "p99, TLS"],
              [[name, *[show(each, at) for each in results["latency"][name] for at in ("p50", "p99")]] for name in names])
    if "crowds" in results:
        print("Over few connections and many: CPU of a request (µs), and against the fewest\n")
        table(["proxy", *[f"{int(work.name):,} connections" for work in CROWDS]],
              [[name, *[f"{one:.1f} ({one / each[0]:.2f})" for one in each]] for name, each in results["crowds"].items()])
    if "scaling" in results:
        print("One worker and two, on any core: CPU of a request, and how much two cores do of what one does\n")
        table(["proxy", "one worker", "two workers", "two cores do"],
              [[name, f"{one:.1f} µs", f"{two:.1f} µs", f"{2 * one / two:.2f}"] for name, (one, two) in
               ((name, (both[1], both[2])) for name, both in results["scaling"].items())])


def machine(bench):
    def said(*command):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    commit = said("git", "log", "-1", "--format=%s") or "unknown"
    with open("/proc/cpuinfo") as cpus:
        model = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}; load average {os.getloadavg()[0]:.1f}; {said(bench.gateway, '--version')}, commit \"{commit}\""


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default="target/release/openbin-gateway", help="the gateway's binary")
    parser.add_argument("--quick", action="store_true", help="within two minutes: enough to see that it works")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5, quick 2)")
    parser.add_argument("--requests", type=int, help="of each measurement (20,000, quick 4,000); fewer where each is large")
    parser.add_argument("--limit", type=int, metavar="SECONDS", help="no longer than about this (580, quick 110)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured there")
    options = parser.parse_args()
    began, plan, bench = time.monotonic(), Plan(options), Bench(options.gateway)
    try:
        results = measure(bench, plan)
        print(machine(bench) + "\n")
        report(results, plan)
        say(f"took {time.monotonic() - began:.0f} s")
    finally:
        bench.end()
    if options.json:
        with open(options.json, "w") as out:
            json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
