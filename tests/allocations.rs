//! How often the warm path asks for memory: counted over whole requests through a gateway in this process, between a
//! client and an instance that ask for none. The numbers may only go down.
#![allow(missing_docs, unsafe_code)]

#[path = "support/jwt.rs"]
#[allow(dead_code)]
mod jwt;
#[path = "support/known_key.rs"]
mod known_key;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use openbin_gateway::app;
use openbin_gateway::config::{Config, Flags, Sources};

use known_key::KEY;

/// Of a request with a session's cookie over HTTP/1.1.
const MOST_FOR_A_SESSION: u64 = 7;
/// Of a request with an API key over HTTP/1.1.
const MOST_FOR_A_KEY: u64 = 7;

const WARM_UP: u64 = 500;
const REQUESTS: u64 = 2_000;

/// Counts what it is asked for.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads up to the end of a head that nothing follows; `false` where the other end has gone.
fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    let mut length = 0;
    loop {
        match stream.read(&mut buffer[length..]) {
            Ok(0) | Err(_) => return false,
            Ok(more) => length += more,
        }
        if buffer[..length].ends_with(b"\r\n\r\n") {
            return true;
        }
    }
}

/// Answers every request with the same small JSON text.
fn instance() -> SocketAddr {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"bins\":[ ]}\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while read_head(&mut stream, &mut buffer) {
                    stream.write_all(ANSWER).expect("an answer");
                }
            });
        }
    });
    address
}

/// A gateway with everything on, as long as this process lives.
fn gateway(folder: &Path) -> SocketAddr {
    let (store, log) = (folder.join("gateway.db"), folder.join("access.log"));
    drop(known_key::keys(&store, &known_key::runtime()));
    let text = format!(
        "workers: 1\n\
         listen: [{{ address: 127.0.0.1:0 }}]\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         store: {{ kind: embedded, path: {} }}\n\
         access_log: {{ path: {}, format: json }}\n\
         limits: {{ per_key: 1000000/1s, per_address: 1000000/1s }}\n\
         instances: [{{ name: home, upstream: \"http://{}\", jwt_secret_env: SECRET }}]\n",
        store.display(),
        log.display(),
        instance()
    );
    let file = folder.join("gateway.yaml");
    std::fs::write(&file, text).expect("a configuration");
    let environment = vec![("SECRET".to_owned(), jwt::SECRET.to_owned())];
    let sources = Sources { file: Some(file), environment, flags: Flags::default() };
    let config =
        Config::load(sources).map_err(|problems| problems.to_string()).expect("a good configuration");
    let (tell, told) = mpsc::channel();
    let ready: app::Ready = Box::new(move |addresses| tell.send(addresses[0]).expect("somebody waits"));
    let reload: app::Reload = Box::new(|| anyhow::bail!("not reloaded"));
    thread::spawn(move || app::run(config, app::Run { reload, ready }).expect("served"));
    told.recv_timeout(Duration::from_secs(20)).expect("an open listener")
}

/// How often memory is asked for while one such request is answered.
fn allocations(gateway: SocketAddr, credential: &str) -> u64 {
    let request = format!(
        "GET /api/bins?page=2 HTTP/1.1\r\nHost: bins.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
         Accept: application/json, text/plain, */*\r\nAccept-Language: en\r\n{credential}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(gateway).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let mut buffer = [0; 16 * 1024];
    let mut exchange = || {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut length = 0;
        while !buffer[..length].ends_with(b"]}\n") {
            let more = stream.read(&mut buffer[length..]).expect("an answer");
            assert!(more > 0, "{}", String::from_utf8_lossy(&buffer[..length]));
            length += more;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    };
    (0..WARM_UP).for_each(|_| exchange());
    let before = COUNT.load(Ordering::Relaxed);
    (0..REQUESTS).for_each(|_| exchange());
    // What the rest of the process does meanwhile is far less than one a request.
    (COUNT.load(Ordering::Relaxed) - before + REQUESTS / 2) / REQUESTS
}

#[test]
fn a_warm_request_asks_for_memory_no_more_often_than_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway(folder.path());
    let session = allocations(gateway, &format!("Cookie: theme=dark; openbin-access={}", jwt::session()));
    let key = allocations(gateway, &format!("Authorization: Bearer {KEY}"));
    println!("allocations of a request: {session} with a session, {key} with a key");
    assert!(session <= MOST_FOR_A_SESSION, "{session}");
    assert!(key <= MOST_FOR_A_KEY, "{key}");
}
