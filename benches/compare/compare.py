#!/usr/bin/env python3
"""What a request costs each of several proxies that stand in front of the same instance: CPU time of their processes,
side by side on this machine, in alternating rounds.

haproxy checks what the gateway checks (a session's signature and time, or a key's SHA-256 among 10,000) and stamps
who it is; nginx and "haproxy, open" check nothing. The gateway runs with everything on: metrics, access log to a file,
last use, limits, timeouts. Every proxy must answer rightly before it is measured. Wants haproxy, nginx and h2load.
"""
import argparse, base64, hashlib, hmac, http.client, json, os, shutil, signal, socket, ssl, statistics, subprocess, sys, tempfile, time

SECRET = "a-secret-that-is-only-good-for-comparing-proxies"
KEYS = 10_000
USER = "5f0c6a52-9d0e-4b9e-8a51-0f4b7c1e2d3a"
BODY = json.dumps({"bins": "x" * 1010}).encode()
CONNECTIONS = 64

NGINX_INSTANCE = """
worker_processes 1; daemon off; pid {dir}/instance.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s;
  server {{ listen 127.0.0.1:{instance}; default_type application/json;
    if ($http_authorization ~ "sk_openbin_0000") {{ return 401 '{{"error":"UNAUTHORIZED","message":"Invalid API key"}}'; }}
    location / {{ return 200 '{body}'; }}
    location /api/seen {{ return 200 '$http_x_auth_method $http_x_auth_user_id'; }} }} }}
"""
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s; ssl_protocols TLSv1.3;
  upstream instance {{ server 127.0.0.1:{instance}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2; ssl_certificate {dir}/chain.pem;
    ssl_certificate_key {dir}/key.pem;
    location / {{ proxy_pass http://instance; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr; }} }} }}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend front
  bind 127.0.0.1:{plain}
  bind 127.0.0.1:{tls} ssl crt {dir}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
  http-request set-header X-Forwarded-For %[src]
{rules}
  default_backend instance
backend instance
  server one 127.0.0.1:{instance} pool-max-conn 256
"""
HAPROXY_RULES = """
  http-request del-header x-auth- -m beg
  http-request set-var(txn.bearer) req.fhdr(authorization),word(2,' ') if {{ req.fhdr(authorization) -m beg 'Bearer sk_openbin_' }}
  http-request set-var(txn.user) var(txn.bearer),sha2(256),hex,lower,map_str({dir}/keys.map) if {{ var(txn.bearer) -m found }}
  http-request set-header X-Auth-Method api_key if {{ var(txn.user) -m found }}
  http-request set-var(txn.good) req.cook(openbin-access),jwt_verify("HS256","{secret}") if !{{ var(txn.bearer) -m found }}
  http-request set-var(txn.now) date()
  http-request set-var(txn.left) req.cook(openbin-access),jwt_payload_query('$.exp','int'),sub(txn.now) if {{ var(txn.good) -m int 1 }}
  http-request set-var(txn.user) req.cook(openbin-access),jwt_payload_query('$.id') if {{ var(txn.left) -m int gt 0 }}
  http-request set-header X-Auth-Method jwt if {{ var(txn.left) -m int gt 0 }}
  http-request return status 401 content-type application/json string '{{"error":"UNAUTHORIZED"}}' unless {{ var(txn.user) -m found }}
  http-request set-header X-Auth-User-Id %[var(txn.user)]
"""
GATEWAY = """
workers: 1
listen:
  - address: 127.0.0.1:{plain}
  - address: 127.0.0.1:{tls}
    tls: {{ certificate: {dir}/chain.pem, key: {dir}/key.pem }}
admin: {{ address: 127.0.0.1:{admin} }}
store: {{ kind: embedded, path: {dir}/gateway.db }}
access_log: {{ path: {dir}/access.log, format: json }}
limits: {{ per_key: 1000000/1s, per_address: 1000000/1s }}
instances:
  - name: home
    upstream: http://127.0.0.1:{instance}
    jwt_secret_env: COMPARE_SECRET
"""


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def session(seconds=86_400, secret=SECRET):
    now = int(time.time())
    claims = {"id": USER, "email": "ann@example.com", "tv": 0, "iat": now, "exp": now + seconds}
    text = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return text + "." + base64url(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def key(number):
    return "sk_openbin_" + hashlib.sha256(b"compared key %d" % number).hexdigest()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Proxy:
    """A proxy that runs, and what it is for."""

    def __init__(self, name, command, ports, bench, judges, environment=None):
        self.name, self.ports, self.judges = name, ports, judges
        log = open(os.path.join(bench.dir, name.replace(" ", "-") + ".log"), "wb")
        self.process = subprocess.Popen(bench.pinned(command, bench.proxy_core), stdout=log, stderr=log,
                                        env={**os.environ, **(environment or {})}, start_new_session=True)
        bench.processes.append(self.process)
        for port in ports:
            wait_for(port)

    def pids(self):
        found, rest = [], [self.process.pid]
        while rest:
            pid = rest.pop()
            found.append(pid)
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    rest += [int(child) for child in children.read().split()]
        return found

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                    total += int(stat.read().split()[0])
        return total / 1e9


def wait_for(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


class Bench:
    def __init__(self, options):
        self.options, self.processes, self.dir = options, [], tempfile.mkdtemp(prefix="compare-")
        os.chmod(self.dir, 0o755)
        two = (os.cpu_count() or 1) > 1
        self.proxy_core, self.load_core = (0, 1) if two else (None, None)
        os.environ["COMPARE_SECRET"] = SECRET

    def pinned(self, command, core):
        return command if core is None else ["taskset", "-c", str(core), *command]

    def file(self, name, text):
        with open(os.path.join(self.dir, name), "w") as out:
            out.write(text)
        return os.path.join(self.dir, name)

    def prepare(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{self.dir}/key.pem",
                        "-out", f"{self.dir}/chain.pem"], check=True, stderr=subprocess.DEVNULL)
        self.file("both.pem", open(f"{self.dir}/chain.pem").read() + open(f"{self.dir}/key.pem").read())
        hashes = [hashlib.sha256(key(number).encode()).hexdigest() for number in range(KEYS)]
        self.file("keys.map", "".join(f"{each} {USER}\n" for each in hashes))
        self.file("keys.csv", "key_hash,user_id\n" + "".join(f"{each},{USER}\n" for each in hashes))

    def start(self):
        self.prepare()
        [instance] = free_ports(1)
        terms = {"dir": self.dir, "instance": instance, "secret": SECRET, "body": BODY.decode()}
        nginx = lambda file: ["nginx", "-e", "stderr", "-c", file]
        command = nginx(self.file("instance.conf", NGINX_INSTANCE.format(**terms)))
        self.processes.append(subprocess.Popen(self.pinned(command, self.load_core), stderr=subprocess.DEVNULL, start_new_session=True))
        wait_for(instance)
        proxies = []
        for name, rules, judges in [("haproxy", HAPROXY_RULES, True), ("haproxy, open", "", False)]:
            plain, tls = free_ports(2)
            text = HAPROXY.format(**terms, plain=plain, tls=tls, rules=rules.format(**terms))
            file = self.file(f"haproxy-{plain}.cfg", text)
            proxies.append(Proxy(name, ["haproxy", "-db", "-f", file], (plain, tls), self, judges))
        plain, tls = free_ports(2)
        proxies.append(Proxy("nginx, open", nginx(self.file("nginx.conf", NGINX.format(**terms, plain=plain, tls=tls))), (plain, tls), self, False))
        plain, tls, admin = free_ports(3)
        file = self.file("gateway.yaml", GATEWAY.format(**terms, plain=plain, tls=tls, admin=admin))
        gateway = os.path.abspath(self.options.gateway)
        subprocess.run([gateway, "keys", "import", "--config", file, "--from", f"csv:{self.dir}/keys.csv"], check=True, stdout=subprocess.DEVNULL)
        proxies.append(Proxy("openbin-gateway", [gateway, "serve", "--config", file], (plain, tls), self, True))
        return proxies

    def check(self, proxy):
        """Right answers first: a proxy that does less work is no comparison."""
        def ask(path, headers, tls):
            port = proxy.ports[tls]
            context = ssl.create_default_context(cafile=f"{self.dir}/chain.pem")
            link = http.client.HTTPSConnection("localhost", port, context=context) if tls else http.client.HTTPConnection("127.0.0.1", port)
            link.request("GET", path, headers=headers)
            answer = link.getresponse()
            content = answer.read()
            link.close()
            return answer.status, content
        good = {"Cookie": f"theme=dark; openbin-access={session()}"}
        with_key = {"Authorization": f"Bearer {key(4711)}"}
        for tls in (0, 1):
            assert ask("/api/bins", good, tls) == (200, BODY), proxy.name
            if not proxy.judges:
                continue
            for headers, method in [(good, "jwt"), (with_key, "api_key")]:
                seen = ask("/api/seen", {**headers, "X-Auth-User-Id": "forged", "X-Auth-Method": "forged"}, tls)
                assert seen == (200, f"{method} {USER}".encode()), (proxy.name, seen)
            for bad in [{}, {"Cookie": f"openbin-access={session(-60)}"}, {"Cookie": f"openbin-access={session(secret='another')}"},
                        {"Authorization": "Bearer sk_openbin_" + "0" * 64}]:
                status, _ = ask("/api/bins", bad, tls)
                assert status == 401, (proxy.name, bad, status)

    def measure(self, proxy, work):
        """CPU microseconds of the proxy for each request."""
        scheme, port = ("http", proxy.ports[0]) if work in ("session", "key") else ("https", proxy.ports[1])
        header = f"authorization: Bearer {key(4711)}" if work == "key" else f"cookie: theme=dark; openbin-access={session()}"
        version = ["-m", "8", "-c", "16"] if work == "session, HTTP/2" else ["--h1", "-c", str(CONNECTIONS)]
        command = ["h2load", "-n", str(self.options.requests), *version, "-H", header, "-H", "x-auth-method: forged",
                   "-H", "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                   "-H", "accept-language: en-US,en;q=0.5", f"{scheme}://127.0.0.1:{port}/api/bins"]
        before = proxy.cpu_seconds()
        out = subprocess.run(self.pinned(command, self.load_core), capture_output=True, text=True).stdout
        spent = proxy.cpu_seconds() - before
        assert f"status codes: {self.options.requests} 2xx" in out, (proxy.name, work, out)
        return spent / self.options.requests * 1e6

    def end(self):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


WORKS = ["session", "key", "session, TLS", "session, HTTP/2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default="target/release/openbin-gateway", help="the gateway's binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000, help="of each measurement")
    bench = Bench(parser.parse_args())
    try:
        proxies = bench.start()
        for proxy in proxies:
            bench.check(proxy)
            for work in WORKS:
                if proxy.judges or work != "key":
                    bench.measure(proxy, work)
        spent = {}
        for _ in range(bench.options.rounds):
            for work in WORKS:
                for proxy in proxies:
                    if proxy.judges or work != "key":
                        spent.setdefault((work, proxy.name), []).append(bench.measure(proxy, work))
        report(proxies, spent)
    finally:
        bench.end()


def report(proxies, spent):
    load = os.getloadavg()[0]
    print(f"CPU time of a request, in microseconds and against haproxy's in the same round (medians; load average {load:.1f})\n")
    print("| proxy | " + " | ".join(WORKS) + " |")
    print("|---|" + "---|" * len(WORKS))
    for proxy in proxies:
        cells = []
        for work in WORKS:
            own, reference = spent.get((work, proxy.name)), spent[(work, "haproxy")]
            ratio = own and statistics.median(one / other for one, other in zip(own, reference))
            cells.append(f"{statistics.median(own):.1f} ({ratio:.2f})" if own else "–")
        print(f"| {proxy.name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
