//! Where the gateway refuses what OpenBin takes, on purpose. The same list is in `docs/security.md`, word for word:
//! a test compares them, and nothing else is excused.

use super::compare::Seen;

/// One way of being stricter.
#[derive(Debug)]
pub struct Stricter {
    /// As it is documented.
    pub text: &'static str,
    /// Where it can be noticed.
    pub noticed: Noticed,
}

/// Where a difference can be noticed.
#[derive(Debug)]
pub enum Noticed {
    /// By comparing decisions: what is special about the request, and the status of the refusal.
    Decision(&'static [&'static str], u16),
    /// In the bytes of a request.
    Bytes,
    /// In an answer.
    Answer,
}

impl Stricter {
    /// Whether this is why a gateway says so.
    pub(super) fn explains(&self, marks: &[&str], gateway: &Seen) -> bool {
        match self.noticed {
            Noticed::Decision(reasons, status) => {
                gateway.status == status && marks.iter().any(|mark| reasons.contains(mark))
            }
            Noticed::Bytes | Noticed::Answer => false,
        }
    }
}

/// All of them.
pub const STRICTER: &[Stricter] = &[
    Stricter {
        text: "More than one `Authorization` field, and more than one `openbin-access` cookie with different \
               values: 400.",
        noticed: Noticed::Decision(&["two Authorization fields", "two openbin-access cookies"], 400),
    },
    Stricter {
        text: "An empty segment under `/api`: 400.",
        noticed: Noticed::Decision(&["empty segment"], 400),
    },
    Stricter {
        text: "White space around a field's value in HTTP/2: 400.",
        noticed: Noticed::Decision(&["white space around a value in HTTP/2"], 400),
    },
    Stricter {
        text: "A session token without `exp`, or with one that no clock reaches: 401.",
        noticed: Noticed::Decision(&["session without exp"], 401),
    },
    Stricter {
        text: "A session token whose signature is not canonical, unpadded base64url: 401.",
        noticed: Noticed::Decision(&["session with a padded signature"], 401),
    },
    Stricter {
        text: "A session token with any `crit`, or with a registered header parameter of the wrong type: 401.",
        noticed: Noticed::Decision(&["session with crit", "session with a wrong kid"], 401),
    },
    Stricter {
        text: "A session token with a header parameter or a time told twice: 401.",
        noticed: Noticed::Decision(&[], 401),
    },
    Stricter {
        text: "A session token with an `id` that is not a text, or not Unicode: 401.",
        noticed: Noticed::Decision(&["session without an id"], 401),
    },
    Stricter {
        text: "A session token with a `sub` that is not a text, or with a byte order mark: 401.",
        noticed: Noticed::Decision(&[], 401),
    },
    Stricter {
        text: "More than one `Content-Length`, also the same; any transfer coding but `chunked`; white space \
               behind the size of a chunk; an extension of a chunk that is no token, or has no name or value; \
               more than one empty line before a request: 400.",
        noticed: Noticed::Bytes,
    },
    Stricter {
        text: "A `#` in the target of HTTP/1.1; a target in absolute form whose host is not the `Host`; a host \
               with more than letters, digits and `-._~`: 400.",
        noticed: Noticed::Bytes,
    },
    Stricter {
        text: "A `#` with what follows it in `:path`, and pseudo-fields in a trailer section of HTTP/2, are \
               dropped before the gateway sees them; neither is passed on.",
        noticed: Noticed::Bytes,
    },
    Stricter {
        text: "No more than 16 KiB of interim responses (103) are passed on before one answer, and none to clients of \
               HTTP/1.0.",
        noticed: Noticed::Answer,
    },
    Stricter {
        text: "An answer whose content breaks off before its head has left ends the connection, or the stream, \
               without a head.",
        noticed: Noticed::Answer,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_documented_as_stricter_and_what_is_excused_are_the_same() {
        let page = include_str!("../../docs/security.md");
        let section = page.split("\n## ").find_map(|section| section.strip_prefix("Stricter than OpenBin\n"));
        let section = section.expect("the section");
        let list = section.split("\n- ").skip(1).map(|item| item.split("\n\n").next().unwrap_or_default());
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let documented: BTreeSet<_> = list.map(one_line).collect();
        let excused: BTreeSet<_> = STRICTER.iter().map(|reason| reason.text.to_owned()).collect();
        assert_eq!(documented, excused);
        assert_eq!(excused.len(), STRICTER.len());
    }
}
