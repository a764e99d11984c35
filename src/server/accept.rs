//! The accept loop of one socket, and what it does when the system has no more to give.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

/// Hands every connection to `each`, until it is dropped.
pub(super) async fn accept(listener: TcpListener, mut each: impl FnMut(TcpStream, SocketAddr)) {
    let mut complaint = Complaint::default();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => each(stream, address),
            Err(error) => {
                let Trouble::Exhausted = Trouble::of(&error) else {
                    continue;
                };
                if complaint.due(Instant::now()) {
                    tracing::error!(
                        %error,
                        "cannot accept connections; raise the limit on open files (`LimitNOFILE=` in the \
                         systemd unit, or `ulimit -n`)"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Why a connection could not be accepted.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// With that one connection (accept(2)): the next may be fine.
    Connection,
    /// With the whole process or system: the next would fail as well.
    Exhausted,
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind::{
            ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
            NetworkUnreachable, PermissionDenied, TimedOut,
        };
        match error.kind() {
            ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted
            | NetworkDown | NetworkUnreachable | PermissionDenied | TimedOut => Self::Connection,
            _ => Self::Exhausted,
        }
    }
}

/// Lets one message a while through; a second, unless told otherwise.
#[derive(Debug)]
pub(super) struct Complaint {
    last: Option<Instant>,
    every: Duration,
}

impl Default for Complaint {
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

impl Complaint {
    pub(super) fn every(every: Duration) -> Self {
        Self { last: None, every }
    }

    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

/// Until connections have ended and descriptors are free again.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_or_memory_pauses_and_a_lost_connection_does_not() {
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        const ENOMEM: i32 = 12;
        for code in [EMFILE, ENFILE, ENOMEM] {
            assert_eq!(Trouble::of(&io::Error::from_raw_os_error(code)), Trouble::Exhausted);
        }
        const ECONNABORTED: i32 = 103;
        const EPERM: i32 = 1;
        for code in [ECONNABORTED, EPERM] {
            assert_eq!(Trouble::of(&io::Error::from_raw_os_error(code)), Trouble::Connection);
        }
    }

    #[test]
    fn complaints_come_once_a_second() {
        let mut complaint = Complaint::default();
        let start = Instant::now();
        assert!(complaint.due(start));
        assert!(!complaint.due(start + Duration::from_millis(999)));
        assert!(complaint.due(start + Duration::from_secs(1)));
        assert!(!complaint.due(start + Duration::from_millis(1999)));
    }
}
