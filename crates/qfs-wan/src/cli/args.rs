//! The command line, and the link it describes.

use clap::Parser;
use qfs_wan::{Bottleneck, LinkSpec, Loss, WanConfig};
use std::{ffi::OsString, time::Duration};

/// The smallest queue chosen when none is given, in bytes: some forty packets.
const MIN_DEFAULT_QUEUE: f64 = 64_000.0;

const AFTER_HELP: &str = "\
COMMAND runs on neither end; it reaches them through these variables:
  WAN_A, WAN_B        the network namespaces
  WAN_A_IP, WAN_B_IP  their addresses

At the end, a line on stderr for each direction says how many packets were carried, lost at random and
dropped by the full queue, and how many came over 1 ms late because this machine was too busy. The
exit code is COMMAND's, or 2 when the link could not be made.

Example, a server on one end and a client on the other, with a round trip of 100 ms:
  qfs-wan --rate 200 --delay 50 --loss 1 --queue 2500 -- bash -c \\
    'ip netns exec $WAN_A SERVER & ip netns exec $WAN_B CLIENT $WAN_A_IP; kill %1'";

/// Runs a command across an emulated long-distance link.
///
/// Makes two network namespaces and a link between them, with its rate, queue, delay and loss in each direction. All
/// IP packets are treated alike. Needs root, ip(8) and /dev/net/tun.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Rate of the bottleneck, Mbit/s, IP headers included
    #[arg(long, value_name = "MBIT/S", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// One-way delay, ms: 50 makes a round trip of 100 ms
    #[arg(long, value_name = "MS", default_value_t = 25.0, value_parser = millis)]
    delay: f64,
    /// More delay for each packet, evenly between 0 and this many ms; packets keep their order
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = millis)]
    jitter: f64,
    /// Packets lost at random, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    loss: f64,
    /// Lose packets in bursts of this many on average (Gilbert-Elliott); --loss stays the mean
    #[arg(long, value_name = "PACKETS", value_parser = burst)]
    burst_loss: Option<f64>,
    /// Queue in front of the bottleneck, KB (1,000 bytes) [default: rate × round trip, at least 64]
    #[arg(long, value_name = "KB", value_parser = kilobytes)]
    queue: Option<f64>,
    /// Rate from B to A, where it differs, Mbit/s
    #[arg(long, value_name = "MBIT/S", value_parser = rate)]
    back_rate: Option<f64>,
    /// Loss from B to A, where it differs, percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    back_loss: Option<f64>,
    /// Largest packet, bytes, IP header included
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..))]
    mtu: u16,
    /// Seeds the losses: the same seed loses the same packets of the same sequence
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Args {
    /// The link asked for.
    pub(crate) fn config(&self) -> WanConfig {
        WanConfig {
            a_to_b: self.link(self.rate, self.loss),
            b_to_a: self.link(self.back_rate.unwrap_or(self.rate), self.back_loss.unwrap_or(self.loss)),
            mtu: self.mtu,
            seed: self.seed,
        }
    }

    fn link(&self, rate: f64, loss: f64) -> LinkSpec {
        let bits_per_second = rate * 1e6;
        let queue_bytes = match self.queue {
            Some(kilobytes) => kilobytes * 1e3,
            None => (bits_per_second / 8.0 * 2.0 * self.delay / 1e3).max(MIN_DEFAULT_QUEUE),
        };
        let loss = loss / 100.0;
        LinkSpec {
            bottleneck: Some(Bottleneck { bits_per_second: bits_per_second as u64, queue_bytes: queue_bytes as u64 }),
            delay: Duration::from_secs_f64(self.delay / 1e3),
            jitter: Duration::from_secs_f64(self.jitter / 1e3),
            loss: self.burst_loss.map_or(Loss::Random(loss), |mean| Loss::bursts(loss, mean)),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.001, 100_000.0)
}

fn millis(text: &str) -> Result<f64, String> {
    within(text, 0.0, 60_000.0)
}

fn percent(text: &str) -> Result<f64, String> {
    within(text, 0.0, 100.0)
}

fn burst(text: &str) -> Result<f64, String> {
    within(text, 1.0, 1e6)
}

fn kilobytes(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1e7)
}

fn within(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(format!("must be from {min} to {max}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    fn config(line: &str) -> WanConfig {
        parse(line).map(|args| args.config()).expect("a good command line")
    }

    #[test]
    fn units_are_those_of_the_help() {
        let config = config("qfs-wan --rate 200 --delay 50 --jitter 2.5 --loss 1 --queue 2500 --seed 7 -- true");
        let link = LinkSpec {
            bottleneck: Some(Bottleneck { bits_per_second: 200_000_000, queue_bytes: 2_500_000 }),
            delay: Duration::from_millis(50),
            jitter: Duration::from_micros(2500),
            loss: Loss::Random(0.01),
        };
        assert_eq!(config, WanConfig { a_to_b: link.clone(), b_to_a: link, mtu: 1500, seed: 7 });
    }

    #[test]
    fn the_queue_defaults_to_a_round_trip_and_directions_may_differ() {
        let config = config("qfs-wan --rate 200 --delay 50 --back-rate 1 --back-loss 3 --mtu 9000 -- true");
        let queue = |link: &LinkSpec| link.bottleneck.map(|b| (b.bits_per_second, b.queue_bytes));
        assert_eq!(queue(&config.a_to_b), Some((200_000_000, 2_500_000)));
        assert_eq!(queue(&config.b_to_a), Some((1_000_000, 64_000)));
        assert_eq!((config.a_to_b.loss, config.b_to_a.loss), (Loss::Random(0.0), Loss::Random(0.03)));
        assert_eq!(config.mtu, 9000);
    }

    #[test]
    fn bursts_keep_the_mean() {
        assert_eq!(config("qfs-wan --loss 2 --burst-loss 8 -- true").a_to_b.loss, Loss::bursts(0.02, 8.0));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["--rate 0", "--rate NaN", "--loss 101", "--loss -1", "--delay inf", "--burst-loss 0", "--mtu 500"] {
            assert!(parse(&format!("qfs-wan {bad} -- true")).is_err(), "{bad}");
        }
        assert!(parse("qfs-wan --rate 5").is_err(), "no command");
    }
}
