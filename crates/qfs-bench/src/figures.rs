//! What is kept of results for the picture of the documentation: for each program its time over that of qfs, and where that
//! was measured. Reads what `run --json` wrote as well as what it has itself written. Pure; knows nothing of drawing.

use serde::{Deserialize, Serialize};

use crate::results::{Contender, Results, ScenarioResults};
use crate::stats::Spread;

/// One sitting: scenarios that were measured together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// When it began, RFC 3339, or the day.
    pub started: String,
    /// The commit that was measured, where that is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// Where it was measured.
    pub host: Machine,
    /// Measured rounds of each scenario.
    pub runs: u32,
    /// In the order they ran.
    pub scenarios: Vec<Compared>,
}

/// The machine, as far as a reader of the picture wants to know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors used.
    pub cores: usize,
    /// Kernel name and release.
    pub kernel: String,
    /// File system type of the place where data sets and copies were.
    pub file_system: String,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// What it is, one sentence.
    pub about: String,
    /// The programs that took part.
    pub contenders: Vec<Program>,
}

/// One program in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its figures.
    pub summary: Kept,
}

/// The figures of one program.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its times, seconds.
    pub seconds: Option<Quartiles>,
    /// Its time over that of qfs in the same round: above 1, it is slower.
    pub ratio: Option<Quartiles>,
    /// How many runs were cut off: then times and ratios are lower bounds.
    #[serde(default)]
    pub cut_off: usize,
}

/// The middle half of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quartiles {
    /// First quartile; absent where only the median was written down.
    #[serde(default)]
    pub q1: Option<f64>,
    /// Median.
    pub median: f64,
    /// Third quartile, as [`Self::q1`].
    #[serde(default)]
    pub q3: Option<f64>,
}

impl Figures {
    /// What is kept of `results`.
    #[must_use]
    pub fn of(results: &Results) -> Self {
        let host = &results.host;
        let (cpu, cores, kernel, file_system) =
            (host.cpu.clone(), host.cores, host.kernel.clone(), host.file_system.clone());
        Self {
            started: results.started.clone(),
            commit: results.commit.clone(),
            host: Machine { cpu, cores, kernel, file_system },
            runs: results.runs,
            scenarios: results.scenarios.iter().map(compared).collect(),
        }
    }

    /// Reads one sitting, or a list of them.
    ///
    /// # Errors
    /// When `text` is neither; the message says what is missing.
    pub fn parse(text: &str) -> Result<Vec<Self>, serde_json::Error> {
        if text.trim_start().starts_with('[') {
            serde_json::from_str(text)
        } else {
            serde_json::from_str(text).map(|one| vec![one])
        }
    }
}

fn compared(scenario: &ScenarioResults) -> Compared {
    Compared {
        name: scenario.name.to_owned(),
        about: scenario.about.clone(),
        contenders: scenario.contenders.iter().map(program).collect(),
    }
}

fn program(contender: &Contender) -> Program {
    let summary = &contender.summary;
    let kept = |spread: Spread| Quartiles { q1: Some(spread.q1), median: spread.median, q3: Some(spread.q3) };
    let summary = Kept { seconds: summary.seconds.map(kept), ratio: summary.ratio.map(kept), cut_off: summary.cut_off };
    Program { name: contender.name.clone(), summary }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the two ways from results to figures part: through the program, and through the file of `run --json`.
    #[test]
    fn results_read_back_are_the_figures_kept_of_them() {
        let results = crate::results::tests::known();
        let kept = Figures::of(&results);
        assert_eq!(Figures::parse(&crate::report::json(&results)).unwrap(), std::slice::from_ref(&kept));
        assert_eq!(Figures::parse(&crate::report::json(&vec![kept.clone()])).unwrap(), [kept]);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "{}", "[{}]", "{\"started\":\"x\"}"] {
            assert!(Figures::parse(text).is_err(), "{text}");
        }
    }
}
