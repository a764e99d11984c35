//! Everything that a git repository has ever held, as `git` itself tells it, object by object.

use std::io::{self, BufRead, BufReader, Read, Take};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, anyhow, bail};

/// A history that is being read.
pub(super) struct History {
    list: Child,
    contents: Child,
    stream: BufReader<ChildStdout>,
    /// What of the last object was not read yet, the line feed behind it included.
    left: u64,
    commit: String,
}

/// Where something stands in a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// A commit that has it: the newest that does.
    pub(super) commit: String,
    /// The file, or what else it is.
    pub(super) path: String,
}

/// The folder of the repository's own files that this path belongs to.
pub(super) fn repository(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let asked = git().arg("-C").arg(folder).args(["rev-parse", "--absolute-git-dir"]).output();
    let output = asked.map_err(no_git)?;
    let told = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
    if !output.status.success() || told.is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{} is in no git repository that can be read: {why}", folder.display());
    }
    Ok(PathBuf::from(told))
}

impl History {
    /// Begins to read.
    pub(super) fn open(repository: &Path) -> anyhow::Result<Self> {
        let mut list = git()
            .arg("--git-dir")
            .arg(repository)
            .args(["rev-list", "--objects", "--in-commit-order", "--all"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(no_git)?;
        let names = list.stdout.take().ok_or_else(|| anyhow!("git gives no output"))?;
        let contents = git()
            .arg("--git-dir")
            .arg(repository)
            .args(["cat-file", "--buffer", "--batch=%(objecttype) %(objectsize) %(objectname) %(rest)"])
            .stdin(names)
            .stdout(Stdio::piped())
            .spawn();
        let mut contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                end(&mut list);
                return Err(no_git(error));
            }
        };
        let stream = contents.stdout.take().ok_or_else(|| anyhow!("git gives no output"))?;
        Ok(Self { list, contents, stream: BufReader::new(stream), left: 0, commit: String::new() })
    }

    /// Goes on to the next object that can hold a key; `None` after the last.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Spot>> {
        loop {
            io::copy(&mut (&mut self.stream).take(self.left), &mut io::sink())?;
            self.left = 0;
            let mut head = Vec::new();
            if self.stream.read_until(b'\n', &mut head)? == 0 {
                self.finish()?;
                return Ok(None);
            }
            let head = String::from_utf8_lossy(&head);
            let mut words = head.trim_end_matches('\n').splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (kind, size, name, path) = (word(), word(), word(), word());
            let size: u64 = size.parse().map_err(|_| anyhow!("git says {:?}", head.trim()))?;
            self.left = size + 1;
            match kind {
                "commit" => {
                    name.clone_into(&mut self.commit);
                    return Ok(Some(self.spot("(its message)")));
                }
                "tag" => return Ok(Some(Spot { commit: name.to_owned(), path: format!("(tag {path})") })),
                "blob" => return Ok(Some(self.spot(path))),
                // Trees hold names only, and each of those comes with its file.
                _ => {}
            }
        }
    }

    /// What the last object holds.
    pub(super) fn content(&mut self) -> Take<Content<'_>> {
        let length = self.left.saturating_sub(1);
        Content(self).take(length)
    }

    fn spot(&self, path: &str) -> Spot {
        Spot { commit: self.commit.clone(), path: path.to_owned() }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let listed = self.list.wait().context("git was lost")?;
        let told = self.contents.wait().context("git was lost")?;
        if listed.success() && told.success() {
            return Ok(());
        }
        bail!("git could not read the whole history; what it said stands above")
    }
}

/// An object's content, read through its history.
pub(super) struct Content<'h>(&'h mut History);

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.stream.read(buffer)?;
        self.0.left = self.0.left.saturating_sub(u64::try_from(read).unwrap_or_default());
        Ok(read)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        end(&mut self.list);
        end(&mut self.contents);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The repository that is named is meant, whatever the environment says (a hook's names its own); nothing is
/// fetched, nothing is replaced.
fn git() -> Command {
    let mut git = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE"] {
        git.env_remove(variable);
    }
    git.env("GIT_NO_LAZY_FETCH", "1").arg("--no-replace-objects").stdin(Stdio::null());
    git
}

fn no_git(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!("git is not installed, and --git needs it"),
        _ => anyhow::Error::new(error).context("git cannot be run"),
    }
}
