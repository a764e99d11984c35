//! What only the embedded file can get wrong.

use std::os::unix::fs::PermissionsExt;

use super::*;

async fn refusal(path: PathBuf) -> String {
    let Err(error) = open(&StoreSettings::Embedded { path }).await else { panic!("it opened") };
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn what_was_written_is_there_after_the_store_is_dropped_and_opened_again() {
    let folder = Folder::new();
    let record = record("a");
    {
        let store = open(&folder.settings()).await.expect("a store");
        try_to_learn(&*store, &record).await.expect("learned");
        // Nobody waits for this one.
        let (revocation, event) = (operator(1), event(Action::KeyRevoked));
        let (revocation, id, event) = (&revocation, &*record.id, &event);
        let mut asked = store.revoke(Ending { instance: "home", id, revocation, tell: false, event });
        assert!(futures_util::poll!(&mut asked).is_pending());
    }
    let store = open(&folder.settings()).await.expect("the store again");
    let found = store.find("home", &record.hash).await.expect("an answer").expect("a record");
    assert_eq!(found.revoked, Some(operator(1)));
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let folder = Folder::new();
    let store = open(&folder.settings()).await.expect("a store");
    try_to_learn(&*store, &record("a")).await.expect("learned");
    let mut files = 0;
    for file in std::fs::read_dir(&folder.0).expect("the folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
        files += 1;
    }
    assert!(files >= 3, "file, lock and log");
}

#[tokio::test]
async fn a_second_process_is_told_that_the_file_is_in_use() {
    let folder = Folder::new();
    let store = open(&folder.settings()).await.expect("a store");
    let Err(error) = open(&folder.settings()).await else { panic!("it opened twice") };
    assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("gateway.db"), "{error}");
    drop(store);
    open(&folder.settings()).await.expect("free again");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_refused_with_the_reason() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("plain"), "").expect("a file");
    for (path, reason) in [
        (folder.0.join("missing/gateway.db"), "does not exist"),
        (folder.0.join("plain/gateway.db"), "is not a folder"),
        (PathBuf::from("/proc/gateway.db"), "/proc"),
    ] {
        let error = refusal(path.clone()).await;
        assert!(error.contains(reason) && error.contains("gateway.db"), "{error}");
    }
    std::fs::create_dir(folder.file()).expect("a folder");
    let error = refusal(folder.file()).await;
    assert!(error.contains("is a folder"), "{error}");
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_left_alone() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "just some notes, long enough to have a header ".repeat(50)).expect("file");
    let before = std::fs::read(folder.file()).expect("file");
    let error = refusal(folder.file()).await;
    assert!(error.contains("not an SQLite file"), "{error}");
    assert_eq!(std::fs::read(folder.file()).expect("file"), before);

    let folder = Folder::new();
    let db = rusqlite::Connection::open(folder.file()).expect("a database");
    db.execute_batch("CREATE TABLE bins (id TEXT)").expect("a table");
    drop(db);
    let error = refusal(folder.file()).await;
    assert!(error.contains("another program"), "{error}");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let folder = Folder::new();
    drop(open(&folder.settings()).await.expect("a store"));
    let db = rusqlite::Connection::open(folder.file()).expect("the file");
    db.pragma_update(None, "user_version", 99).expect("a version");
    drop(db);
    let error = refusal(folder.file()).await;
    assert!(error.contains("newer version") && error.contains("99"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = Folder::new();
    let store = open(&folder.settings()).await.expect("a store");
    for n in 0..200 {
        try_to_learn(&*store, &record(&n.to_string())).await.expect("learned");
    }
    drop(store);
    let mut bytes = std::fs::read(folder.file()).expect("the file");
    assert!(bytes.len() > 3 * 4096);
    bytes[2 * 4096..].fill(0xA5);
    std::fs::write(folder.file(), bytes).expect("the file");
    let error = refusal(folder.file()).await;
    assert!(error.contains("is damaged"), "{error}");
}
