//! Rows on their way from a source to whoever asked: in batches, read ahead by two, so that memory stays
//! the same however many there are.

use std::fmt;

use tokio::sync::mpsc;

use super::row::Row;
use super::{Found, ImportError, Unreadable};

/// How many rows travel together.
pub(super) const BATCH: usize = 512;
const READ_AHEAD: usize = 2;

/// An open source. Dropping it ends the reading.
pub struct Reader {
    total: Option<u64>,
    remark: Option<&'static str>,
    supply: mpsc::Receiver<Supply>,
    batch: std::vec::IntoIter<Row>,
    ended: bool,
}

/// What a source sends.
enum Supply {
    Rows(Vec<Row>),
    /// Always the last; without it the source has not ended, but has been lost.
    End(Result<(), ImportError>),
}

/// Where a source puts its rows.
pub(super) struct Outlet(mpsc::Sender<Supply>);

/// That nobody reads any more.
pub(super) struct Closed;

/// Why a source stops before its end.
pub(super) enum Stop {
    Closed,
    Failed(ImportError),
}

impl Reader {
    /// A reader whose rows `pour` reads, on a thread on which it may block.
    pub(super) fn blocking<P>(total: u64, remark: Option<&'static str>, pour: P) -> Self
    where
        P: FnOnce(&Outlet) -> Result<(), Stop> + Send + 'static,
    {
        let (outlet, reader) = Self::connected(total, remark);
        tokio::task::spawn_blocking(move || {
            if let Some(end) = end(pour(&outlet)) {
                let _ = outlet.0.blocking_send(end);
            }
        });
        reader
    }

    /// A reader whose rows come from a future.
    pub(super) fn pending<P, F>(total: u64, pour: P) -> Self
    where
        P: FnOnce(Outlet) -> F,
        F: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        let (outlet, reader) = Self::connected(total, None);
        let sender = outlet.0.clone();
        let pour = pour(outlet);
        tokio::spawn(async move {
            if let Some(end) = end(pour.await) {
                let _ = sender.send(end).await;
            }
        });
        reader
    }

    fn connected(total: u64, remark: Option<&'static str>) -> (Outlet, Self) {
        let (sender, supply) = mpsc::channel(READ_AHEAD);
        let batch = Vec::new().into_iter();
        (Outlet(sender), Self { total: Some(total), remark, supply, batch, ended: false })
    }

    /// How many rows the source has, unreadable ones included.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// What whoever asked should know of the way in which the source is read.
    #[must_use]
    pub fn remark(&self) -> Option<&'static str> {
        self.remark
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// Where the source fails: what was read so far is then not all of it.
    pub async fn next(&mut self) -> Result<Option<Result<Found, Unreadable>>, ImportError> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            if self.ended {
                return Ok(None);
            }
            match self.supply.recv().await {
                Some(Supply::Rows(rows)) => self.batch = rows.into_iter(),
                Some(Supply::End(end)) => {
                    self.ended = true;
                    end?;
                }
                None => {
                    self.ended = true;
                    return Err(ImportError::BrokeOff("the reading of the source was cut short".to_owned()));
                }
            }
        }
    }
}

impl Outlet {
    pub(super) fn put(&self, rows: Vec<Row>) -> Result<(), Closed> {
        self.0.blocking_send(Supply::Rows(rows)).map_err(|_| Closed)
    }

    pub(super) async fn give(&self, rows: Vec<Row>) -> Result<(), Closed> {
        self.0.send(Supply::Rows(rows)).await.map_err(|_| Closed)
    }
}

fn end(poured: Result<(), Stop>) -> Option<Supply> {
    match poured {
        Ok(()) => Some(Supply::End(Ok(()))),
        Err(Stop::Failed(error)) => Some(Supply::End(Err(error))),
        Err(Stop::Closed) => None,
    }
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("total", &self.total).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize) -> Row {
        Err(Unreadable { place: number.to_string(), why: String::new() })
    }

    #[tokio::test]
    async fn rows_come_in_order_and_the_end_stays_the_end() {
        let mut reader = Reader::blocking(9, None, |outlet| {
            for start in [0, 3, 6] {
                outlet.put((start..start + 3).map(row).collect())?;
            }
            Ok(())
        });
        for number in 0..9 {
            assert_eq!(reader.next().await, Ok(Some(row(number))));
        }
        assert_eq!(reader.next().await, Ok(None));
        assert_eq!(reader.next().await, Ok(None));
    }

    #[tokio::test]
    async fn a_source_that_fails_is_not_taken_for_one_that_ends() {
        let failure = ImportError::BrokeOff("the cable".to_owned());
        let told = failure.clone();
        let mut reader = Reader::blocking(1, None, move |outlet| {
            outlet.put(vec![row(0)])?;
            Err(told.into())
        });
        assert_eq!(reader.next().await, Ok(Some(row(0))));
        assert_eq!(reader.next().await, Err(failure));

        let mut reader = Reader::pending(1, |outlet| async move {
            outlet.give(vec![row(0)]).await?;
            Err(Stop::Closed)
        });
        assert_eq!(reader.next().await, Ok(Some(row(0))));
        assert!(matches!(reader.next().await, Err(ImportError::BrokeOff(_))));
    }

    #[tokio::test]
    async fn a_source_stops_where_nobody_reads_any_more() {
        let (told, stopped) = tokio::sync::oneshot::channel();
        let reader = Reader::blocking(u64::MAX, None, |outlet| {
            while outlet.put(vec![row(0)]).is_ok() {}
            let _ = told.send(());
            Err(Stop::Closed)
        });
        drop(reader);
        stopped.await.expect("the source has stopped");
    }
}
