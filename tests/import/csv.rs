//! CSV files, as programs and people make them.

use openbin_gateway::keys::{ImportError, KeyHash};
use tempfile::TempDir;

use super::{All, at, open, read, refused};

const KEY: &str = "sk_openbin_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

struct File(TempDir, String);

fn file(content: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.csv");
    std::fs::write(&path, content).expect("a file");
    let source = format!("csv:{}", path.display());
    File(folder, source)
}

fn hash(key: &str) -> String {
    KeyHash::of(key).to_string()
}

async fn content(content: impl AsRef<[u8]>) -> All {
    let file = file(content);
    read(&file.1).await
}

async fn refusal(content: impl AsRef<[u8]>) -> ImportError {
    let file = file(content);
    assert!(file.0.path().exists());
    refused(&file.1).await
}

fn complaints(all: &All) -> Vec<String> {
    all.unreadable.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_known_column_is_read_and_every_other_is_left_out() {
    let all = content(format!(
        "name,secret,user_id,key_hash,id,user_email,prefix,created_at,last_used_at,revoked_at,expires_at\n\
         \"lap\"\"top\"\"\n1, x\",s3cret,u1,{},k1,ann@example.com,sk_openbin_0011223,2026-11-22 21:00:01,\
         2026-11-22 21:00:02+00,2026-11-23T02:30:03+05:30,2026-11-22T21:00:04Z\n",
        hash("a")
    ))
    .await;
    assert_eq!(complaints(&all), Vec::<String>::new());
    let [found] = all.found.as_slice() else { panic!("{} keys", all.found.len()) };
    assert_eq!(found.hash, KeyHash::of("a"));
    assert_eq!((found.id.as_deref(), found.user_id.as_str()), (Some("k1"), "u1"));
    assert_eq!(found.user_email.as_deref(), Some("ann@example.com"));
    assert_eq!(
        (found.name.as_str(), found.prefix.as_deref()),
        ("lap\"top\"\n1, x", Some("sk_openbin_0011223"))
    );
    assert_eq!((found.created_at, found.last_used_at), (at(1), at(2)));
    assert_eq!((found.revoked_at, found.expires_at), (at(3), at(4)));
    assert!(!format!("{found:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_file_from_windows_reads_like_any_other() {
    let all = content(format!(
        "\u{feff}\"Key_Hash\", USER_ID ,name\r\n{},u1,\r\n\r\n{},u2,x",
        hash("a").to_uppercase(),
        hash("b")
    ))
    .await;
    let read: Vec<_> = all.found.iter().map(|found| (found.hash, found.user_id.as_str())).collect();
    assert_eq!(read, [(KeyHash::of("a"), "u1"), (KeyHash::of("b"), "u2")]);
}

#[tokio::test]
async fn a_header_alone_is_a_source_of_no_keys() {
    for text in ["key_hash,user_id", "key_hash,user_id\n", "key_hash,user_id\r\n\r\n"] {
        let all = content(text).await;
        assert!(all.found.is_empty() && all.unreadable.is_empty());
    }
}

#[tokio::test]
async fn lines_are_counted_as_an_editor_counts_them() {
    for end in ["\n", "\r\n"] {
        let rows = ["key_hash,user_id,name", "bad,u1,\"two", "lines\"", "bad,u2,", "", "", "bad,u3,"];
        let told = complaints(&content(rows.join(end)).await).join("; ");
        let places: Vec<_> = told.split("; ").filter_map(|told| told.split(':').next()).collect();
        assert_eq!(places, ["line 2", "line 4", "line 7"]);
    }
}

#[tokio::test]
async fn a_bad_row_is_named_by_its_line_and_passed_over() {
    let (a, b) = (hash("a"), hash("b"));
    let mut text = format!(
        "key_hash,user_id,created_at\n{a},u1,\nxyz,u2,\n{b},,\n\n{b},u3,soon\n{b},u4\n{b},u5,,more\n\"{b}\n\n\",u6,\n"
    )
    .into_bytes();
    text.extend_from_slice(format!("{b},u\u{fc}7,\n").replace('\u{fc}', "?").as_bytes());
    let mark = text.iter().rposition(|&byte| byte == b'?').expect("its mark");
    text[mark] = 0xfc;
    text.extend_from_slice(format!("{},u8,", hash("c")).as_bytes());
    let all = content(text).await;
    let users: Vec<_> = all.found.iter().map(|found| found.user_id.as_str()).collect();
    assert_eq!(users, ["u1", "u6", "u8"]);
    let told = complaints(&all);
    for (line, why) in [
        ("line 3", "64 hexadecimal digits"),
        ("line 4", "no user_id"),
        ("line 6", "created_at is not a time"),
        ("line 7", "fields is 2, and that of the columns 3"),
        ("line 8", "fields is 4, and that of the columns 3"),
        ("line 12", "not UTF-8"),
    ] {
        assert!(
            told.iter().any(|told| told.starts_with(&format!("{line}: ")) && told.contains(why)),
            "{told:#?}"
        );
    }
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(!told.concat().contains(&b), "{told:#?}");
}

#[tokio::test]
async fn a_quotation_mark_that_is_never_closed_is_suspected() {
    let all =
        content(format!("key_hash,user_id\n{},u1\n\"{},u2\n{},u3\n", hash("a"), hash("b"), hash("c"))).await;
    assert_eq!(all.found.len(), 1);
    let told = complaints(&all);
    assert!(told[0].starts_with("line 3: ") && told[0].contains("quotation mark"), "{told:?}");
}

#[tokio::test]
async fn a_hash_that_comes_again_is_taken_once() {
    let (a, b) = (hash("a"), hash("b"));
    let upper = a.to_uppercase();
    let all = content(format!("key_hash,user_id\n{a},u1\n{b},u2\n{upper},u3\n{a},u4\n")).await;
    let users: Vec<_> = all.found.iter().map(|found| found.user_id.as_str()).collect();
    assert_eq!(users, ["u1", "u2"]);
    let told = complaints(&all);
    assert!(told[0].starts_with("line 4: ") && told[1].starts_with("line 5: "), "{told:?}");
    assert!(told.iter().all(|told| told.contains("has come before")), "{told:?}");
}

#[tokio::test]
async fn a_key_in_plain_text_anywhere_refuses_the_whole_file() {
    let a = hash("a");
    let upper = KEY.replace('a', "A");
    for (text, place) in [
        (format!("key_hash,user_id\n{KEY},u1\n"), "line 2, column key_hash"),
        (format!("key_hash,user_id,notes\n{a},u1,\n{a},u1,was {KEY}!\n"), "line 3, column 3"),
        (format!("key_hash,user_id,name\n{a},u1,{upper}\n"), "line 2, column name"),
        (format!("key_hash,user_id,prefix\n{a},u1,sk_openbin_00112233\n"), "line 2, column prefix"),
        (format!("key_hash,user_id\n{a},u1,{KEY}\n"), "line 2, column 3"),
        (format!("{KEY},u1\n{KEY},u2\n"), "line 1, column 1"),
    ] {
        let error = refusal(&text).await;
        assert!(matches!(error, ImportError::PlainKey(_)), "{text}: {error}");
        let told = error.to_string();
        assert!(told.contains(place) && told.contains("SHA-256"), "{told}");
        assert!(!told.contains("0011"), "{told}");
    }
    let all =
        content(format!("key_hash,user_id,prefix,name\n{a},u1,sk_openbin_0011223,my sk_openbin_ key\n"))
            .await;
    assert_eq!(all.found.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_table_of_keys_is_refused_with_what_is_missing() {
    let a = hash("a");
    for (text, why) in [
        (String::new(), "is empty"),
        ("\n\n".to_owned(), "is empty"),
        ("user_id,id\n".to_owned(), "no column key_hash"),
        ("key_hash,user\n".to_owned(), "no column user_id"),
        ("key_hash;user_id\n".to_owned(), "by commas"),
        ("key_hash\tuser_id\n".to_owned(), "by commas"),
        ("key_hash,user_id,id,ID\n".to_owned(), "two columns id"),
        (format!("{a},u1\n"), "no column key_hash"),
    ] {
        let told = refusal(&text).await.to_string();
        assert!(told.contains(why) && told.contains("keys.csv"), "{told}");
        assert!(!told.contains(&a), "{told}");
    }
    let told = refusal(b"\xff\xfek\0e\0y\0").await.to_string();
    assert!(told.contains("UTF-16"), "{told}");
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    let told = refused(&format!("csv:{path}")).await.to_string();
    assert!(told.contains("not a regular file"), "{told}");
    let told = refused(&format!("csv:{path}/none.csv")).await.to_string();
    assert!(told.contains("none.csv") && told.contains("No such file"), "{told}");
}

#[tokio::test]
async fn a_reader_can_be_left_in_the_middle() {
    let mut text = "key_hash,user_id\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!("{},u1\n", hash(&number.to_string())));
    }
    let file = file(text);
    let mut reader = open(&file.1).await.expect("a reader");
    assert_eq!(reader.total(), Some(10_000));
    assert!(matches!(reader.next().await, Ok(Some(Ok(_)))));
}
