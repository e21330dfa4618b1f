//! What the servers say they have of one file, and whom that makes its sources. Pure.
//!
//! The first server that has the file decides which version is wanted. A server with the same chunk map has the same version, whatever
//! digest it names: one of the two lies about that, and the digest of what arrived tells who. A server that names
//! the same digest and gives another map is contested: one of the two lies about the map. It is asked for nothing as long as there
//! are others, and where two agree against the first, they are believed first.

use std::sync::Arc;

use qfs_core::chunks::ChunkMap;
use qfs_core::model::Digest;

/// What a server says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) digest: Digest,
    /// None from a server that makes no maps.
    pub(super) map: Option<Arc<ChunkMap>>,
}

/// How far it is known what a server has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// It has not been asked, or not answered.
    #[default]
    Unknown,
    /// This.
    Claims(Claim),
    /// Nothing that can be used.
    Out,
}

/// What a server is to the version that is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It has the same.
    Source,
    /// It names the same digest, and gives another map.
    Contested,
    /// It has another version.
    Other,
    /// It is not known, or has nothing.
    None,
}

/// The version that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// As this server says; its stripes are those of this map.
    Mapped(usize, Arc<ChunkMap>),
    /// As this server says, and nobody has a map of it.
    Plain(usize),
}

/// The claims of all servers, in the order in which those were named.
#[derive(Debug)]
pub(super) struct Claims(pub(super) Vec<Standing>);

impl Claims {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Standing::Unknown; count])
    }

    /// The version that is wanted, once that is decided. A server that `is_late` is not waited for.
    pub(super) fn wanted(&self, is_late: &dyn Fn(usize) -> bool) -> Option<Wanted> {
        let (leader, claim) = self.leader(is_late)?;
        let maps = || self.claims().filter(|(_, other)| other.digest == claim.digest);
        let count = |map: &ChunkMap| self.claims().filter(|(_, other)| has(other, map)).count();
        // The first among the most, so that the leader's own decides where all are alone.
        let mut best: Option<(usize, &Arc<ChunkMap>)> = claim.map.as_ref().map(|map| (count(map), map));
        for map in maps().filter_map(|(_, other)| other.map.as_ref()) {
            let votes = count(map);
            if best.is_none_or(|(most, _)| votes > most) {
                best = Some((votes, map));
            }
        }
        match best {
            Some((_, map)) => Some(Wanted::Mapped(leader, Arc::clone(map))),
            // Somebody else may still have one.
            None if self.0.iter().enumerate().any(|(n, of)| *of == Standing::Unknown && !is_late(n)) => None,
            None => Some(Wanted::Plain(leader)),
        }
    }

    /// The first server that has the file; None while an earlier one is waited for.
    fn leader(&self, is_late: &dyn Fn(usize) -> bool) -> Option<(usize, &Claim)> {
        for (number, standing) in self.0.iter().enumerate() {
            match standing {
                Standing::Claims(claim) => return Some((number, claim)),
                Standing::Unknown if !is_late(number) => return None,
                Standing::Unknown | Standing::Out => {}
            }
        }
        None
    }

    /// What server `number` is to the version that `leader` names and that has this map.
    pub(super) fn part(&self, number: usize, wanted: Digest, map: &ChunkMap) -> Part {
        match self.0.get(number) {
            Some(Standing::Claims(claim)) if has(claim, map) => Part::Source,
            Some(Standing::Claims(claim)) if claim.digest != wanted => Part::Other,
            Some(Standing::Claims(Claim { map: None, .. })) => Part::Source,
            Some(Standing::Claims(_)) => Part::Contested,
            _ => Part::None,
        }
    }

    fn claims(&self) -> impl Iterator<Item = (usize, &Claim)> {
        self.0.iter().enumerate().filter_map(|(number, standing)| match standing {
            Standing::Claims(claim) => Some((number, claim)),
            _ => None,
        })
    }

    /// The same map, held once however many servers gave it.
    pub(super) fn shared(&self, map: ChunkMap) -> Arc<ChunkMap> {
        let known = self.claims().filter_map(|(_, claim)| claim.map.as_ref()).find(|known| ***known == map);
        match known {
            Some(known) => Arc::clone(known),
            None => Arc::new(map),
        }
    }

    /// Whether server `number` gave a map.
    pub(super) fn has_map(&self, number: usize) -> bool {
        self.claims().any(|(n, claim)| n == number && claim.map.is_some())
    }

    /// The digest that server `number` names.
    pub(super) fn digest(&self, number: usize) -> Option<Digest> {
        self.claims().find(|(n, _)| *n == number).map(|(_, claim)| claim.digest)
    }
}

fn has(claim: &Claim, map: &ChunkMap) -> bool {
    claim.map.as_ref().is_some_and(|own| std::ptr::eq(Arc::as_ptr(own), map) || own.chunks() == map.chunks())
}

#[cfg(test)]
mod tests {
    use qfs_core::chunks::{Chunker, Grain};

    use super::*;

    fn map(content: &[u8]) -> Arc<ChunkMap> {
        let mut chunker = Chunker::new(Grain::for_size(content.len() as u64).unwrap());
        chunker.push(content);
        Arc::new(chunker.finish(Digest::of(content)).unwrap())
    }

    fn claims(digest: &[u8], of: Option<&[u8]>) -> Standing {
        Standing::Claims(Claim { digest: Digest::of(digest), map: of.map(map) })
    }

    fn wanted(of: Vec<Standing>, late: &[usize]) -> Option<Wanted> {
        Claims(of).wanted(&|number| late.contains(&number))
    }

    #[test]
    fn the_first_that_has_it_decides() {
        let (a, b) = (claims(b"a", Some(b"a")), claims(b"b", Some(b"b")));
        let is = |leader, content: &[u8]| Some(Wanted::Mapped(leader, map(content)));
        assert_eq!(wanted(vec![a.clone(), b.clone(), b.clone()], &[]), is(0, b"a"), "not the most");
        assert_eq!(wanted(vec![Standing::Out, b.clone(), a.clone()], &[]), is(1, b"b"));
        assert_eq!(wanted(vec![Standing::Unknown, b.clone()], &[]), None, "the first is waited for");
        assert_eq!(wanted(vec![Standing::Unknown, b], &[0]), is(1, b"b"), "but not for ever");
        assert_eq!(wanted(vec![Standing::Out, Standing::Out], &[]), None);
        let later = vec![a, Standing::Unknown];
        assert_eq!(wanted(later.clone(), &[]), is(0, b"a"), "the others join later");
        assert_eq!(Claims(later).part(1, Digest::of(b"a"), &map(b"a")), Part::None);
    }

    // Fails when a map of the first server outweighs that of two others for the same digest; or its digest a map that is the same.
    #[test]
    fn two_that_agree_about_a_map_are_believed_before_one() {
        let (lie, truth) = (claims(b"x", Some(b"lie")), claims(b"x", Some(b"truth")));
        let is = |content: &[u8]| Some(Wanted::Mapped(0, map(content)));
        assert_eq!(wanted(vec![lie.clone(), truth.clone()], &[]), is(b"lie"));
        assert_eq!(wanted(vec![lie.clone(), truth.clone(), truth.clone()], &[]), is(b"truth"));
        let all =
            Claims(vec![lie, truth.clone(), claims(b"y", Some(b"truth")), claims(b"x", None), claims(b"y", None)]);
        let parts: Vec<_> = (0..6).map(|number| all.part(number, Digest::of(b"x"), &map(b"truth"))).collect();
        assert_eq!(parts, [Part::Contested, Part::Source, Part::Source, Part::Source, Part::Other, Part::None]);
        assert_eq!(wanted(vec![claims(b"x", None), truth], &[]), is(b"truth"), "a map of another's");
    }

    #[test]
    fn without_a_map_there_are_no_stripes() {
        assert_eq!(wanted(vec![claims(b"x", None), Standing::Unknown], &[]), None);
        assert_eq!(wanted(vec![claims(b"x", None), Standing::Unknown], &[1]), Some(Wanted::Plain(0)));
        assert_eq!(wanted(vec![claims(b"x", None), claims(b"y", Some(b"y"))], &[]), Some(Wanted::Plain(0)));
    }
}
