//! Where a symbolic link leads, from its text alone.

use qfs_core::model::RemotePath;

use super::listing::above;

/// Why a link is not carried to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// Links are not carried without `--links`.
    #[error("a symbolic link")]
    NotAsked,
    /// It is absolute, or goes up beyond the root of what is synchronised.
    #[error("a symbolic link that leads outside")]
    Outside,
    /// It goes up again behind a name, which may be a link itself.
    #[error("a symbolic link that goes up behind a name")]
    UpAgain,
    /// It is written in a roundabout way (`./a`, `a//b`), and stores take only links of which the text tells at once where they end.
    #[error("a symbolic link that is not written plainly")]
    NotPlain,
    /// It is no link, nor anything else that is carried: a pipe, a socket, a device.
    #[error("neither file, directory nor symbolic link")]
    Special,
    /// It leads to a hidden name, or one that no published file can have.
    #[error("a symbolic link to what is never published")]
    Hidden,
}

/// Checks that the link `name` with this text ends inside the tree, whether or not something is there.
///
/// A link may go up first and then down. Going up starts from the directory that the link lies in, which is a real one, so it is known
/// where that leads. Going down may lead through other links; each of them is checked in the same way, so they end inside as well.
/// Going up again behind a name is refused: `a/../b` lies where nobody can tell from the text, once `a` is a link itself.
pub(super) fn check(name: &str, text: &str, hidden: bool) -> Result<(), LinkFault> {
    if text.is_empty() || text.starts_with('/') {
        return Err(LinkFault::Outside);
    }
    let (mut above, mut goes_down) = (above(name).count(), false);
    for component in text.split('/') {
        match component {
            "" | "." => {}
            ".." if goes_down => return Err(LinkFault::UpAgain),
            ".." => above = above.checked_sub(1).ok_or(LinkFault::Outside)?,
            normal if normal.contains(['\\', '\0']) || (!hidden && normal.starts_with('.')) => {
                return Err(LinkFault::Hidden);
            }
            _ => goes_down = true,
        }
    }
    let is_plain = RemotePath::parse(name).is_ok_and(|path| path.admits_link(text));
    if is_plain { Ok(()) } else { Err(LinkFault::NotPlain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_texts_lead() {
        for (name, text, expected) in [
            ("l", "a", Ok(())),
            ("l", "missing/b", Ok(())),
            ("l", ".", Err(LinkFault::NotPlain)),
            ("l", "./a", Err(LinkFault::NotPlain)),
            ("l", "a//b", Err(LinkFault::NotPlain)),
            ("sub/l", "../a", Ok(())),
            ("sub/l", "..", Ok(())),
            ("a/b/l", "../../c/d", Ok(())),
            ("a/b/l", "..//./x/", Err(LinkFault::NotPlain)),
            ("a/b/l", "../x/", Err(LinkFault::NotPlain)),
            ("l", "", Err(LinkFault::Outside)),
            ("l", "/etc/passwd", Err(LinkFault::Outside)),
            ("l", "//x", Err(LinkFault::Outside)),
            ("l", "..", Err(LinkFault::Outside)),
            ("l", "../l", Err(LinkFault::Outside)),
            ("sub/l", "../../x", Err(LinkFault::Outside)),
            ("a/b/l", "../../../x", Err(LinkFault::Outside)),
            ("l", "./../x", Err(LinkFault::Outside)),
            // Where `p/q/d` is a link to `../../top`, this leads to `etc` beside the root.
            ("l", "p/q/d/../../etc", Err(LinkFault::UpAgain)),
            ("l", "lib/../x", Err(LinkFault::UpAgain)),
            ("sub/l", "../lib/..", Err(LinkFault::UpAgain)),
            ("l", ".git/config", Err(LinkFault::Hidden)),
            ("l", "a/.b/c", Err(LinkFault::Hidden)),
            ("l", "...", Err(LinkFault::Hidden)),
            ("l", "a\\b", Err(LinkFault::Hidden)),
        ] {
            assert_eq!(check(name, text, false), expected, "{name} -> {text}");
        }
        assert_eq!(check("l", ".config", true), Ok(()));
    }
}
