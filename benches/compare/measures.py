"""What is measured of a proxy, each with its own tool: h2load, strace, sockets, and the gateway's own `bench`."""
import http.client, json, os, shutil, socket, ssl, subprocess, tempfile, time

from proxies import BIG, BODY, SECRET, UPLOAD, USER, key, session

# Of requests in one run, beyond those that each connection begins with.
FEWEST = 64
AGENT = "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


class Work:
    """Something that a proxy is asked to do many times. `weight`: how many requests take as long as one of these."""

    def __init__(self, name, tls=False, by_key=False, path="/api/bins", options=("--h1", "-c", "64"), weight=1, once=False, upload=False):
        self.name, self.tls, self.by_key, self.path, self.options = name, tls, by_key, path, options
        self.weight, self.once, self.upload = weight, once, upload

    def suits(self, proxy):
        """Who looks at no credential has no work with keys of its own; uploads carry one only to be let in."""
        return proxy.judges or not self.by_key or self.upload


WORKS = [
    Work("session"),
    Work("key", by_key=True),
    Work("session, TLS", tls=True),
    Work("session, HTTP/2", tls=True, options=("-m", "8", "-c", "16")),
    Work("full handshake", tls=True, weight=25, once=True),
    Work("1 MiB down", path="/api/big", options=("--h1", "-c", "8"), weight=50),
    Work("1 MiB down, TLS", tls=True, path="/api/big", options=("--h1", "-c", "8"), weight=50),
    Work("4 MiB up", by_key=True, path="/api/sink", options=("--h1", "-c", "4"), weight=200, upload=True),
]

# The same by few and by many connections, none of which may make the others dearer.
CROWDS = [Work(str(count), options=("--h1", "-c", str(count))) for count in (10, 1_000, 5_000)]


def credential(by_key, number=4711):
    return f"authorization: Bearer {key(number)}" if by_key else f"cookie: theme=dark; openbin-access={session()}"


def h2load(bench, proxy, work, requests):
    """Has the proxy do it so often; fails where one answer is not right."""
    options = list(work.options)
    if work.once:
        options = ["--h1", "-c", str(requests)]
    if work.upload:
        options += ["-d", f"{bench.dir}/upload"]
    command = ["h2load", "-n", str(requests), *options, "-H", credential(work.by_key), "-H", "x-auth-method: forged",
               "-H", AGENT, "-H", "accept-language: en-US,en;q=0.5", proxy.url(work.tls, work.path)]
    done = subprocess.run(bench.pinned(command, bench.load_core), capture_output=True, text=True, timeout=120)
    assert f"status codes: {requests} 2xx" in done.stdout, (proxy.name, work.name, done.stdout, done.stderr)


def each(work, requests, total):
    """What one more request takes of a total: what a run of as few as there are connections takes is left out, since it
    is the connections' own. Where each request has a connection, that is what is measured."""
    requests = max(2 * FEWEST, requests // work.weight)
    if work.once:
        return total(requests) / requests
    fewest = int(work.options[work.options.index("-c") + 1])
    return (total(requests) - total(fewest)) / (requests - fewest)


def cost(bench, proxy, work, requests):
    """CPU microseconds of the proxy for each request."""
    def total(count):
        before = proxy.cpu_seconds()
        h2load(bench, proxy, work, count)
        return (proxy.cpu_seconds() - before) * 1e6
    return each(work, requests, total)


def check(bench, proxy):
    """Right answers first: a proxy that does less work is no comparison."""
    context = ssl.create_default_context(cafile=f"{bench.dir}/chain.pem")

    def ask(path, headers, tls, content=None):
        port = proxy.ports[tls]
        link = http.client.HTTPSConnection("localhost", port, context=context) if tls else http.client.HTTPConnection("127.0.0.1", port)
        link.request("POST" if content else "GET", path, body=content, headers=headers)
        answer = link.getresponse()
        body = answer.read()
        link.close()
        return answer.status, body

    good = {"Cookie": f"theme=dark; openbin-access={session()}"}
    with_key = {"Authorization": f"Bearer {key(4711)}"}
    with open(f"{bench.dir}/files/big", "rb") as big, open(f"{bench.dir}/upload", "rb") as upload:
        big, upload = big.read(), upload.read()
    for tls in (0, 1):
        assert ask("/api/bins", good, tls) == (200, BODY), proxy.name
        assert ask("/api/big", good, tls) == (200, big) and len(big) == BIG, proxy.name
        assert ask("/api/sink", with_key, tls, upload) == (200, str(UPLOAD).encode()), proxy.name
        if not proxy.judges:
            continue
        for headers, method in [(good, "jwt"), (with_key, "api_key")]:
            seen = ask("/api/seen", {**headers, "X-Auth-User-Id": "forged", "X-Auth-Method": "forged"}, tls)
            assert seen == (200, f"{method} {USER}".encode()), (proxy.name, seen)
        for bad in [{}, {"Cookie": f"openbin-access={session(-60)}"}, {"Cookie": f"openbin-access={session(secret='another')}"},
                    {"Authorization": "Bearer sk_openbin_" + "0" * 64}]:
            status, _ = ask("/api/bins", bad, tls)
            assert status == 401, (proxy.name, bad, status)


# Some proxies give up what a connection needs for its next request only when none has come for a while.
UNTIL_IDLE = 4


def idle_memory(bench, proxy, count):
    """KiB that each idle TLS connection holds, after one answer."""
    context = ssl.create_default_context(cafile=f"{bench.dir}/chain.pem")
    request = f"GET /api/seen HTTP/1.1\r\nHost: localhost\r\nCookie: openbin-access={session()}\r\n\r\n".encode()

    def connect():
        link = context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.ports[1]), 10), server_hostname="localhost")
        link.sendall(request)
        assert link.recv(65536).startswith(b"HTTP/1.1 200"), proxy.name
        return link

    for link in [connect() for _ in range(32)]:
        link.close()
    time.sleep(UNTIL_IDLE)
    before = proxy.memory_kib()
    links = [connect() for _ in range(count)]
    time.sleep(UNTIL_IDLE)
    held = (proxy.memory_kib() - before) / count
    for link in links:
        link.close()
    return held


def system_calls(bench, proxy, work, requests):
    """System calls of a request, of all its threads; `None` where strace is not there, or may not look."""
    if not shutil.which("strace"):
        return None
    try:
        return each(work, requests, lambda count: traced(bench, proxy, work, count))
    except PermissionError:
        return None


def traced(bench, proxy, work, requests):
    with tempfile.NamedTemporaryFile("r") as out:
        tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out.name, *[word for pid in proxy.pids() for word in ("-p", str(pid))]],
                                  stderr=subprocess.PIPE, text=True)
        if "attached" not in tracer.stderr.readline():
            tracer.kill()
            tracer.wait()
            raise PermissionError("strace may not look")
        time.sleep(0.5)
        h2load(bench, proxy, work, requests)
        tracer.terminate()
        tracer.communicate(timeout=20)
        totals = [line.split() for line in out if line.rstrip().endswith("total")]
    # The columns: % of time, seconds, microseconds a call, calls, errors where there were any.
    return int(totals[-1][3])


def latency(bench, proxy, rate, seconds, rounds, tls):
    """Microseconds at the median and at 99 %: straight, and what the proxy adds. Each request counts from when it was due."""
    command = [bench.gateway, "bench", "--upstream", f"http://127.0.0.1:{bench.terms['instance']}", "--jwt-secret-env", "COMPARE_SECRET",
               "--user", USER, "--only", "session", "--through", proxy.url(tls, ""), *(["--insecure"] if tls else []), "--json",
               "--rate", str(rate), "--seconds", str(seconds), "--rounds", str(rounds), "--connections", "16", "--path", "/api/bins"]
    done = subprocess.run(bench.pinned(command, bench.load_core), capture_output=True, text=True, cwd=bench.dir,
                          env={**os.environ, "COMPARE_SECRET": SECRET}, timeout=120)
    assert done.returncode == 0, (proxy.name, done.stderr)
    direct, through = json.loads(done.stdout)["rows"]
    return {"direct": (direct["p50_us"], direct["p99_us"]), "p50": through["p50_us"], "p99": through["p99_us"],
            "added_p50": through["added_p50_us"], "added_p99": through["added_p99_us"]}
