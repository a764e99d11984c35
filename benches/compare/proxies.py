"""The proxies that are compared, their configurations, and the instance behind them."""
import base64, hashlib, hmac, json, os, resource, shutil, signal, socket, subprocess, sys, tempfile, time

SECRET = "a-secret-that-is-only-good-for-comparing-proxies"
KEYS = 10_000
USER = "5f0c6a52-9d0e-4b9e-8a51-0f4b7c1e2d3a"
BODY = json.dumps({"bins": "x" * 1010}).encode()
BIG = 1 << 20
UPLOAD = 4 << 20

# What it is sent is read to its end before it answers: it asks itself, without the content.
NGINX_INSTANCE = """
worker_processes 1; daemon off; pid {dir}/instance.pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s; sendfile on;
  client_max_body_size 64m; client_body_buffer_size 8m; client_body_temp_path {dir}/uploads;
  upstream own {{ server 127.0.0.1:{instance}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{instance} backlog=4096; default_type application/json; root {dir}/files;
    if ($http_authorization ~ "sk_openbin_0000") {{ return 401 '{{"error":"UNAUTHORIZED","message":"Invalid API key"}}'; }}
    location / {{ return 200 '{body}'; }}
    location /api/seen {{ return 200 '$http_x_auth_method $http_x_auth_user_id'; }}
    location /api/auth/me {{ return 200 '{{"id":"{user}","email":"ann@example.com"}}'; }}
    location /api/big {{ try_files /big =404; }}
    location /api/sink {{ proxy_pass http://own/api/sunk; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Length $content_length; }}
    location /api/sunk {{ return 200 '$http_x_length'; }} }} }}
"""
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300s; ssl_protocols TLSv1.3;
  client_max_body_size 64m; proxy_request_buffering off; proxy_max_temp_file_size 0;
  upstream instance {{ server 127.0.0.1:{instance}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl http2; ssl_certificate {dir}/chain.pem;
    ssl_certificate_key {dir}/key.pem;
    location / {{ proxy_pass http://instance; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $remote_addr; }} }} }}
"""
HAPROXY = """
global
  nbthread {workers}
  maxconn 8000
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
workers: {workers}
listen:
  - address: 127.0.0.1:{plain}
  - address: 127.0.0.1:{tls}
    tls: {{ certificate: {dir}/chain.pem, key: {dir}/key.pem }}
admin: {{ address: 127.0.0.1:{admin} }}
store: {{ kind: embedded, path: {dir}/gateway-{plain}.db }}
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


def wait_for(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


class Proxy:
    """A proxy that runs, and whether it judges credentials."""

    def __init__(self, name, process, ports, judges):
        self.name, self.process, self.ports, self.judges = name, process, ports, judges
        for port in ports:
            wait_for(port)

    def url(self, tls, path):
        return f"{'https' if tls else 'http'}://127.0.0.1:{self.ports[tls]}{path}"

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
        """User and system time of all of its threads and children, from the scheduler's own clock."""
        total = 0
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                    total += int(stat.read().split()[0])
        return total / 1e9

    def memory_kib(self):
        """What it holds of the machine's memory; shared pages count in part."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        return total


class Bench:
    """A folder with everything that the proxies need, and the processes that run there."""

    def __init__(self, gateway):
        self.gateway, self.processes, self.dir = os.path.abspath(gateway), [], tempfile.mkdtemp(prefix="compare-")
        os.chmod(self.dir, 0o755)
        two = (os.cpu_count() or 1) > 1
        self.proxy_core, self.load_core = (0, 1) if two else (None, None)
        os.environ["COMPARE_SECRET"] = SECRET
        # A thousand connections are more than most systems allow a process by themselves.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def pinned(self, command, core):
        return command if core is None else ["taskset", "-c", str(core), *command]

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as out:
            out.write(text)
        return path

    def spawn(self, name, command, core):
        with open(os.path.join(self.dir, name.replace(" ", "-") + ".log"), "wb") as log:
            process = subprocess.Popen(self.pinned(command, core), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def prepare(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{self.dir}/key.pem",
                        "-out", f"{self.dir}/chain.pem"], check=True, stderr=subprocess.DEVNULL)
        with open(f"{self.dir}/chain.pem") as chain, open(f"{self.dir}/key.pem") as private:
            self.file("both.pem", chain.read() + private.read())
        for folder in ("files", "uploads"):
            os.mkdir(f"{self.dir}/{folder}")
            os.chmod(f"{self.dir}/{folder}", 0o777)
        self.file("files/big", os.urandom(BIG))
        self.file("upload", os.urandom(UPLOAD))
        hashes = [hashlib.sha256(key(number).encode()).hexdigest() for number in range(KEYS)]
        self.file("keys.map", "".join(f"{each} {USER}\n" for each in hashes))
        self.file("keys.csv", "key_hash,user_id\n" + "".join(f"{each},{USER}\n" for each in hashes))

    def start(self):
        """All proxies, each with one worker, and the instance behind them."""
        self.start_instance()
        plain, tls = free_ports(2)
        config = self.file("nginx.conf", NGINX.format(**self.terms, plain=plain, tls=tls))
        nginx = Proxy("nginx, open", self.spawn("nginx", self.nginx(config), self.proxy_core), (plain, tls), False)
        return [self.haproxy(1), self.haproxy(1, judges=False), nginx, self.openbin_gateway(1)]

    def start_gateway(self):
        """The gateway alone, and the instance behind it."""
        self.start_instance()
        return self.openbin_gateway(1)

    def start_instance(self):
        self.prepare()
        [instance] = free_ports(1)
        self.terms = {"dir": self.dir, "instance": instance, "secret": SECRET, "body": BODY.decode(), "user": USER}
        self.spawn("instance", self.nginx(self.file("instance.conf", NGINX_INSTANCE.format(**self.terms))), self.load_core)
        wait_for(instance)

    def nginx(self, file):
        return ["nginx", "-e", "stderr", "-c", file]

    def haproxy(self, workers, judges=True):
        plain, tls = free_ports(2)
        rules = HAPROXY_RULES.format(**self.terms) if judges else ""
        file = self.file(f"haproxy-{plain}.cfg", HAPROXY.format(**self.terms, plain=plain, tls=tls, rules=rules, workers=workers))
        name = "haproxy" if judges else "haproxy, open"
        core = self.proxy_core if workers == 1 else None
        return Proxy(name, self.spawn(f"{name} {workers}", ["haproxy", "-db", "-f", file], core), (plain, tls), judges)

    def openbin_gateway(self, workers):
        plain, tls, admin = free_ports(3)
        file = self.file(f"gateway-{plain}.yaml", GATEWAY.format(**self.terms, plain=plain, tls=tls, admin=admin, workers=workers))
        subprocess.run([self.gateway, "keys", "import", "--config", file, "--from", f"csv:{self.dir}/keys.csv"], check=True, stdout=subprocess.DEVNULL)
        core = self.proxy_core if workers == 1 else None
        process = self.spawn(f"gateway {workers}", [self.gateway, "serve", "--config", file], core)
        return Proxy("openbin-gateway", process, (plain, tls), True)

    def stop(self, process):
        if process in self.processes:
            self.processes.remove(process)
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def end(self):
        for process in reversed(self.processes[:]):
            self.stop(process)
        shutil.rmtree(self.dir, ignore_errors=True)
