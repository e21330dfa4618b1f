//! Which stripe goes to whom. Pure: no I/O and no clock; time is what the caller says.
//!
//! Stripes are given out in the order of the file, to whoever has room for one: a server has about [`AHEAD`] of its own rate under way,
//! so a slow one gets less by itself. What a silent or dropped server holds is given out again. Once all stripes are given out,
//! whoever is idle is asked for one that another holds, and the first answer wins.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How much of its rate a server has under way: enough that it never waits for the next request over a long link.
const AHEAD: Duration = Duration::from_millis(500);

/// Stripes that a server has under way at least: while one comes, the next is asked for.
const LEAST_AHEAD: u64 = 2;

/// Most bytes that a server has under way.
pub(crate) const MOST_AHEAD_BYTES: u64 = 16 << 20;

/// Most that is asked for beside another server: the first that is right is taken.
const HOLDERS: usize = 2;

/// A stripe is held for a second time only where the second is expected within this many times what is left for the first.
const WORTH_ASKING: f64 = 2.0;

/// An answer that brings nothing for so long, while its server sends others, is asked of another one.
const STUCK: Duration = Duration::from_secs(2);

/// What is known of a server at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Whether it may be asked for stripes of this file.
    pub(crate) is_usable: bool,
    /// Whether it owes an answer and has said nothing for too long.
    pub(crate) is_silent: bool,
    /// Bytes a second of late; None when it has not been measured.
    pub(crate) rate: Option<f64>,
    /// Bytes asked of it, of all files.
    pub(crate) under_way: u64,
}

/// Names one question for a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Asked(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not here. Those who hold it are in the attempts.
    Missing,
    /// It has come in answer to this question, and is being proved.
    Proving(Asked),
    /// Proved and written.
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    mirror: usize,
    stripe: usize,
    heard: Duration,
    received: u64,
    /// Whether the stripe is given out again although this attempt goes on.
    is_stalled: bool,
}

/// The stripes of one file, and who was asked for them.
#[derive(Debug)]
pub(crate) struct Board {
    stripes: Vec<Stripe>,
    /// Those that are missing and that nobody is on from whom they may be expected.
    open: BTreeSet<usize>,
    attempts: BTreeMap<Asked, Attempt>,
    next: u64,
    left: usize,
}

#[derive(Debug, Clone, Copy)]
struct Stripe {
    length: u64,
    state: State,
    /// Attempts, and those of them that have not stalled.
    attempts: usize,
    live: usize,
}

impl Board {
    /// Stripes of these lengths in bytes, of which those that are `here` need nothing.
    pub(crate) fn new(lengths: Vec<u64>, here: impl Fn(usize) -> bool) -> Self {
        let open: BTreeSet<_> = (0..lengths.len()).filter(|stripe| !here(*stripe)).collect();
        let stripe = |(stripe, length)| {
            let state = if open.contains(&stripe) { State::Missing } else { State::Done };
            Stripe { length, state, attempts: 0, live: 0 }
        };
        let stripes = lengths.into_iter().enumerate().map(stripe).collect();
        let left = open.len();
        Self { stripes, open, attempts: BTreeMap::new(), next: 0, left }
    }

    /// Whether all stripes are proved.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// What `mirror` is asked for next, if anything: the question's name and the stripe.
    pub(crate) fn next(&mut self, mirror: usize, paces: &[Pace], now: Duration) -> Option<(Asked, usize)> {
        let pace = paces.get(mirror).filter(|pace| pace.is_usable && !pace.is_silent)?;
        let stripe = self.open_for(mirror).or_else(|| self.worth_doubling(mirror, paces))?;
        let length = self.stripes[stripe].length;
        let is_room = pace.under_way == 0 || pace.under_way + length <= ahead(pace, length);
        is_room.then(|| {
            let asked = Asked(self.next);
            self.next += 1;
            self.attempts.insert(asked, Attempt { mirror, stripe, heard: now, received: 0, is_stalled: false });
            self.stripes[stripe].attempts += 1;
            self.stripes[stripe].live += 1;
            self.sort(stripe);
            (asked, stripe)
        })
    }

    /// The first stripe that nobody is on, other than one that `mirror` is on already.
    fn open_for(&self, mirror: usize) -> Option<usize> {
        let is_its = |stripe: usize| self.attempts.values().any(|own| own.stripe == stripe && own.mirror == mirror);
        self.open.iter().copied().find(|stripe| self.stripes[*stripe].attempts == 0 || !is_its(*stripe))
    }

    /// The stripe of others that is expected last, if `mirror` is idle and may well bring it sooner. One that is not idle would only
    /// slow down what it has.
    fn worth_doubling(&self, mirror: usize, paces: &[Pace]) -> Option<usize> {
        if paces[mirror].under_way > 0 {
            return None;
        }
        let own: BTreeSet<_> =
            self.attempts.values().filter(|own| own.mirror == mirror).map(|own| own.stripe).collect();
        let mut queued = vec![0; paces.len()];
        let mut last: Option<(usize, f64)> = None;
        for attempt in self.attempts.values() {
            let Stripe { length, state, attempts, .. } = self.stripes[attempt.stripe];
            queued[attempt.mirror] += length.saturating_sub(attempt.received);
            let wait = seconds(queued[attempt.mirror], paces[attempt.mirror].rate);
            let is_candidate = state == State::Missing && attempts < HOLDERS && !own.contains(&attempt.stripe);
            if is_candidate && last.is_none_or(|(_, most)| wait >= most) {
                last = Some((attempt.stripe, wait));
            }
        }
        let (stripe, wait) = last?;
        let own = seconds(self.stripes[stripe].length, paces[mirror].rate);
        (own.is_infinite() || own < wait * WORTH_ASKING).then_some(stripe)
    }

    /// Bytes arrived in answer to `asked`.
    pub(crate) fn heard(&mut self, asked: Asked, bytes: u64, now: Duration) {
        let Some(attempt) = self.attempts.get_mut(&asked) else { return };
        attempt.received += bytes;
        attempt.heard = now;
        if std::mem::take(&mut attempt.is_stalled) {
            let stripe = attempt.stripe;
            self.stripes[stripe].live += 1;
            self.sort(stripe);
        }
    }

    /// Notes who is silent: what they hold is given out again, though it may still come.
    pub(crate) fn look(&mut self, paces: &[Pace], now: Duration) {
        let mut stalled = Vec::new();
        for attempt in self.attempts.values_mut().filter(|attempt| !attempt.is_stalled) {
            let is_stuck = now.saturating_sub(attempt.heard) > STUCK;
            attempt.is_stalled = is_stuck || paces.get(attempt.mirror).is_none_or(|pace| pace.is_silent);
            stalled.extend(attempt.is_stalled.then_some(attempt.stripe));
        }
        for stripe in stalled {
            self.stripes[stripe].live -= 1;
            self.sort(stripe);
        }
    }

    /// The whole answer to `asked` has come. The stripe to prove, unless another answer was first.
    pub(crate) fn came(&mut self, asked: Asked) -> Option<usize> {
        let stripe = self.attempts.get(&asked)?.stripe;
        if self.stripes[stripe].state != State::Missing {
            self.forget(asked);
            return None;
        }
        self.stripes[stripe].state = State::Proving(asked);
        self.sort(stripe);
        Some(stripe)
    }

    /// The answer to `asked` is proved and written. Whose answers to the same question are not needed any more.
    pub(crate) fn proved(&mut self, asked: Asked) -> Vec<Asked> {
        let Some(Attempt { stripe, .. }) = self.forget(asked) else { return Vec::new() };
        if self.stripes[stripe].state != State::Done {
            self.stripes[stripe].state = State::Done;
            self.left -= 1;
        }
        let others = self.attempts.iter().filter(|(_, other)| other.stripe == stripe);
        let others: Vec<_> = others.map(|(asked, _)| *asked).collect();
        for other in &others {
            self.forget(*other);
        }
        others
    }

    /// Nothing came of `asked`; the server that it was asked of.
    pub(crate) fn failed(&mut self, asked: Asked) -> Option<usize> {
        let Attempt { stripe, mirror, .. } = self.forget(asked)?;
        if self.stripes[stripe].state == State::Proving(asked) {
            self.stripes[stripe].state = State::Missing;
        }
        self.sort(stripe);
        Some(mirror)
    }

    /// Nothing more is expected of `mirror`. Its questions, which may be given up.
    pub(crate) fn drop_mirror(&mut self, mirror: usize) -> Vec<Asked> {
        let is_proving = |asked: &Asked, stripe: usize| self.stripes[stripe].state == State::Proving(*asked);
        let its = self.attempts.iter().filter(|(_, attempt)| attempt.mirror == mirror);
        let its = its.filter(|(asked, attempt)| !is_proving(asked, attempt.stripe)).map(|(asked, _)| *asked);
        let its: Vec<_> = its.collect();
        for asked in &its {
            self.failed(*asked);
        }
        its
    }

    /// Takes an attempt off the board.
    fn forget(&mut self, asked: Asked) -> Option<Attempt> {
        let attempt = self.attempts.remove(&asked)?;
        self.stripes[attempt.stripe].attempts -= 1;
        self.stripes[attempt.stripe].live -= usize::from(!attempt.is_stalled);
        self.sort(attempt.stripe);
        Some(attempt)
    }

    /// Puts a stripe among the open ones, or takes it out.
    fn sort(&mut self, stripe: usize) {
        let Stripe { state, live, .. } = self.stripes[stripe];
        if state == State::Missing && live == 0 {
            self.open.insert(stripe);
        } else {
            self.open.remove(&stripe);
        }
    }
}

/// Most that `pace` lets a server have under way, where a stripe has `length` bytes.
fn ahead(pace: &Pace, length: u64) -> u64 {
    let least = LEAST_AHEAD * length;
    let wanted = pace.rate.map_or(0.0, |rate| rate * AHEAD.as_secs_f64());
    // Rates are far below what a float can hold exactly.
    (wanted as u64).clamp(least, MOST_AHEAD_BYTES.max(least))
}

/// How long `bytes` take at this rate.
fn seconds(bytes: u64, rate: Option<f64>) -> f64 {
    rate.filter(|rate| *rate > 0.0).map_or(f64::INFINITY, |rate| bytes as f64 / rate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRIPE: u64 = 100_000;
    const STEP: Duration = Duration::from_millis(10);

    /// A server of the simulation: what it sends a second, and when it dies or begins to lie.
    #[derive(Debug, Clone, Copy)]
    struct Sim {
        rate: u64,
        dies: Option<Duration>,
        lies: bool,
    }

    fn sim(rate: u64) -> Sim {
        Sim { rate, dies: None, lies: false }
    }

    /// What a run came to: how long it took, and the bytes that each server sent.
    #[derive(Debug)]
    struct Ran {
        time: Duration,
        sent: Vec<u64>,
        /// Questions to each server after it had lied.
        after_a_lie: u64,
    }

    /// Fetches `stripes` from `sims`, each of which answers one question after the other. None when it does not end.
    fn run(stripes: usize, sims: &[Sim]) -> Option<Ran> {
        let mut board = Board::new(vec![STRIPE; stripes], |_| false);
        let mut queues: Vec<Vec<(Asked, u64)>> = vec![Vec::new(); sims.len()];
        let mut paces = vec![Pace { is_usable: true, ..Pace::default() }; sims.len()];
        let (mut sent, mut heard) = (vec![0; sims.len()], vec![Duration::ZERO; sims.len()]);
        let (mut now, mut after_a_lie, mut caught) = (Duration::ZERO, 0, vec![false; sims.len()]);
        while !board.is_done() {
            if now > Duration::from_secs(3600) {
                return None;
            }
            for (number, sim) in sims.iter().enumerate() {
                let owed = !queues[number].is_empty();
                paces[number].is_silent = owed && now - heard[number] > Duration::from_millis(600);
                paces[number].under_way = queues[number].iter().map(|(_, left)| *left).sum();
                paces[number].rate = Some(sim.rate as f64).filter(|_| sent[number] > 0);
            }
            board.look(&paces, now);
            for number in 0..sims.len() {
                while let Some((asked, stripe)) = board.next(number, &paces, now) {
                    assert!(stripe < stripes && !caught[number]);
                    if queues[number].is_empty() {
                        heard[number] = now;
                    }
                    queues[number].push((asked, STRIPE));
                    paces[number].under_way += STRIPE;
                    after_a_lie += u64::from(caught[number]);
                }
            }
            now += STEP;
            for (number, sim) in sims.iter().enumerate() {
                let mut room = if sim.dies.is_some_and(|dies| now > dies) { 0 } else { sim.rate / 100 };
                while room > 0 && !queues[number].is_empty() {
                    let (asked, left) = &mut queues[number][0];
                    let (asked, bytes) = (*asked, room.min(*left));
                    *left -= bytes;
                    room -= bytes;
                    let is_whole = *left == 0;
                    sent[number] += bytes;
                    heard[number] = now;
                    board.heard(asked, bytes, now);
                    if !is_whole {
                        continue;
                    }
                    queues[number].remove(0);
                    if board.came(asked).is_none() {
                        continue;
                    }
                    if sim.lies {
                        assert_eq!(board.failed(asked), Some(number));
                        board.drop_mirror(number);
                        (caught[number], paces[number].is_usable) = (true, false);
                        queues[number].clear();
                    } else {
                        for other in board.proved(asked) {
                            queues.iter_mut().for_each(|queue| queue.retain(|(asked, _)| *asked != other));
                        }
                    }
                }
            }
        }
        Some(Ran { time: now, sent, after_a_lie })
    }

    #[test]
    fn three_alike_are_nearly_three_times_as_fast_as_one() {
        let one = run(300, &[sim(2_000_000)]).unwrap();
        let three = run(300, &[sim(2_000_000); 3]).unwrap();
        let gain = one.time.as_secs_f64() / three.time.as_secs_f64();
        assert!(gain > 2.9, "{gain}: {three:?}");
        let wasted = three.sent.iter().sum::<u64>() - 300 * STRIPE;
        assert!(wasted < 3 * STRIPE, "{wasted}");
    }

    // Fails when each server gets as many stripes as the others, or the last ones wait for the slow one.
    #[test]
    fn a_slow_one_gets_less_and_holds_nobody_up() {
        let ran = run(300, &[sim(100_000), sim(3_000_000), sim(1_000_000)]).unwrap();
        let least = 300.0 * STRIPE as f64 / 4_100_000.0;
        assert!(ran.time.as_secs_f64() < least * 1.1 + 0.2, "{ran:?}, at least {least}");
        assert!(ran.sent[0] * 10 < ran.sent[1] && ran.sent[2] * 2 < ran.sent[1], "{ran:?}");
    }

    // Fails when what a dead server holds is not given out again, or only when its connection has timed out.
    #[test]
    fn what_a_dead_one_holds_moves_within_a_second() {
        let dies = Sim { dies: Some(Duration::from_secs(2)), ..sim(2_000_000) };
        let ran = run(200, &[dies, sim(2_000_000)]).unwrap();
        let least = 2.0 + (200.0 * STRIPE as f64 - 8_000_000.0) / 2_000_000.0;
        assert!(ran.time.as_secs_f64() < least + 1.0, "{ran:?}, at least {least}");
    }

    proptest! {
        /// Fails when: a stripe is lost where its holder dies or lies; a stripe is never given out again; somebody who lied is
        /// asked again; the end waits for the slowest.
        #[test]
        fn whoever_dies_or_lies_the_file_is_had(
            stripes in 0usize..120,
            rates in prop::collection::vec((20_000u64..3_000_000, prop::option::of(0u64..5_000), any::<bool>()), 0..5),
            honest in 100_000u64..3_000_000,
            at in any::<prop::sample::Index>(),
        ) {
            let mut sims: Vec<_> = rates
                .into_iter()
                .map(|(rate, dies, lies)| Sim { rate, dies: dies.map(Duration::from_millis), lies })
                .collect();
            sims.insert(at.index(sims.len() + 1), sim(honest));
            let ran = run(stripes, &sims);
            prop_assert!(ran.is_some(), "no end");
            let ran = ran.unwrap();
            prop_assert_eq!(ran.after_a_lie, 0);
            // No longer than from the honest one alone, but for what others were given the time to.
            let alone = (stripes as u64 * STRIPE) as f64 / honest as f64;
            prop_assert!(ran.time.as_secs_f64() < alone * 1.1 + 3.0, "{:?}, alone {}", ran, alone);
        }

        #[test]
        fn what_is_here_is_not_asked_for(here in prop::collection::vec(any::<bool>(), 0..60)) {
            let mut board = Board::new(vec![STRIPE; here.len()], |stripe| here[stripe]);
            let paces = [Pace { is_usable: true, rate: Some(1e12), ..Pace::default() }];
            let mut asked = Vec::new();
            while let Some((question, stripe)) = board.next(0, &paces, Duration::ZERO) {
                prop_assert_eq!(board.came(question), Some(stripe));
                board.proved(question);
                asked.push(stripe);
            }
            let missing: Vec<_> = (0..here.len()).filter(|stripe| !here[*stripe]).collect();
            prop_assert_eq!(asked, missing);
            prop_assert!(board.is_done());
        }
    }
}
