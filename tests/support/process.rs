//! A child process whose output is captured line by line, and which does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::wait;

/// A running child process.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    child: Arc<Mutex<Child>>,
    stdout: Lines,
    stderr: Lines,
    exit: watch::Receiver<Option<ExitStatus>>,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Process {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = child.id();
        let out = child.stdout.take().expect("captured output");
        let err = child.stderr.take().expect("captured output");
        let child = Arc::new(Mutex::new(child));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let (ended, exit) = watch::channel(None);
        let out_reader = follow(out, Arc::clone(&stdout));
        let err_reader = follow(err, Arc::clone(&stderr));
        let reaped = Arc::clone(&child);
        // Both pipes end when the process does, so the lock is held no longer than the system takes to reap it.
        thread::spawn(move || {
            let _ = (out_reader.join(), err_reader.join());
            let status = lock(&reaped).wait().expect("exit status");
            let _ = ended.send(Some(status));
        });
        Self { pid, child, stdout, stderr, exit }
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The lines that it has written to its standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        lock(&self.stdout).clone()
    }

    /// The lines that it has written to its standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        lock(&self.stderr).clone()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`, `STOP`, `CONT`, `KILL`.
    pub fn signal(&self, name: &str) {
        assert!(self.ended().is_none(), "the process has ended already");
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        assert!(status.expect("kill").success(), "could not send SIG{name}");
    }

    /// Whether it rests because of a signal.
    pub fn is_stopped(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("/proc");
        status.lines().any(|line| line.starts_with("State:\tT"))
    }

    /// Waits for its end.
    pub async fn exit(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match tokio::time::timeout(wait::PATIENCE, exit.wait_for(Option::is_some)).await {
            Ok(ended) => ended.expect("the reaper reports").expect("a status"),
            Err(_) => panic!("the process does not end; it said:\n{}", self.stderr().join("\n")),
        }
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("/proc");
        kibibytes(&status, "VmRSS:") * 1024
    }

    /// Whether the system may give it huge pages; `None` where there are none.
    pub fn may_have_huge_pages(&self) -> Option<bool> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("/proc");
        status.lines().find_map(|line| line.strip_prefix("THP_enabled:")).map(|value| value.trim() == "1")
    }

    /// What it has in memory, and how much of that is no file's.
    pub fn memory(&self) -> Memory {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).expect("/proc");
        let of = |name| kibibytes(&rollup, name) * 1024;
        Memory {
            resident: of("Rss:"),
            proportional: of("Pss:"),
            anonymous: of("Anonymous:") + of("Swap:"),
            huge: of("AnonHugePages:"),
        }
    }

    /// What it has in memory once that has stayed the same for so long.
    pub async fn settled_memory(&self, quiet: Duration) -> Memory {
        let end = Instant::now() + SETTLES_WITHIN;
        let (mut memory, mut since) = (self.memory(), Instant::now());
        while since.elapsed() < quiet {
            assert!(Instant::now() < end, "memory does not settle: {memory:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.memory();
            if now.anonymous.abs_diff(memory.anonymous) > PAGES {
                (memory, since) = (now, Instant::now());
            }
        }
        memory
    }
}

/// What a process has in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    /// What it shares with others, counted by its part.
    pub proportional: u64,
    /// What is no file's, in memory or put out of it. What the system does with pages of files does not disturb it.
    pub anonymous: u64,
    /// What of it lies in huge pages.
    pub huge: u64,
}

/// What may come and go without memory having changed, in bytes.
const PAGES: u64 = 64 * 1024;
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = lock(&self.child).kill();
        }
    }
}

fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn follow(pipe: impl Read + Send + 'static, lines: Lines) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            lock(&lines).push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
