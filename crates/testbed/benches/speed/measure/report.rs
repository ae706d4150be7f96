//! What a benchmark found, and the arithmetic of it.

use std::time::Duration;

use serde::Serialize;

/// What one benchmark found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was measured.
    pub(crate) measures: Vec<Measure>,
    /// What follows from that.
    pub(crate) findings: Vec<Finding>,
}

/// One thing that was measured again and again.
#[derive(Debug, Serialize)]
pub(crate) struct Measure {
    pub(crate) what: String,
    pub(crate) samples: usize,
    pub(crate) median_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) mean_us: f64,
}

/// A comparison of two things that were measured in the same run, or a figure of its own. Rare and dear things show in the mean
/// alone.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// What the target is for: the median, unless `what` says otherwise.
    pub(crate) median: f64,
    /// Absent for what is measured once.
    pub(crate) mean: Option<f64>,
    /// The target, where there is one.
    pub(crate) at_most: Option<f64>,
}

/// What a finding is counted in.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Microseconds,
    Times,
    Kilobytes,
}

impl Report {
    pub(crate) fn add(&mut self, what: impl Into<String>, samples: &Samples) {
        self.measures.push(Measure {
            what: what.into(),
            samples: samples.0.len(),
            median_us: samples.percentile(50),
            p95_us: samples.percentile(95),
            p99_us: samples.percentile(99),
            mean_us: samples.mean(),
        });
    }

    /// Adds the same thing by how many wait, or whatever they do, and how the most compare to the fewest.
    pub(crate) fn add_by_count(&mut self, what: &str, they: &str, those: &[(usize, &Samples)]) {
        for (count, samples) in those {
            self.add(format!("{what}, {count} {they}"), samples);
        }
        if let [(few, short), .., (many, long)] = those {
            self.ratio(&format!("{what}, {many} to {few} that {they}"), long, short);
        }
    }

    /// How much longer one thing takes than another.
    pub(crate) fn difference(&mut self, what: &str, long: &Samples, short: &Samples, at_most: Duration) {
        self.findings.push(Finding {
            what: what.to_owned(),
            unit: Unit::Microseconds,
            median: long.percentile(50) - short.percentile(50),
            mean: Some(long.mean() - short.mean()),
            at_most: Some(microseconds(at_most)),
        });
    }

    /// How much longer the slowest of a hundred take.
    pub(crate) fn difference_p99(&mut self, what: &str, long: &Samples, short: &Samples, at_most: Duration) {
        let beyond = long.percentile(99) - short.percentile(99);
        self.figure(&format!("{what}, 99 of 100"), Unit::Microseconds, beyond, Some(microseconds(at_most)));
    }

    /// How many times as long one thing takes as another.
    pub(crate) fn ratio(&mut self, what: &str, long: &Samples, short: &Samples) {
        self.ratio_at_most(what, long, short, None);
    }

    /// The same with a target.
    pub(crate) fn ratio_at_most(
        &mut self,
        what: &str,
        long: &Samples,
        short: &Samples,
        at_most: Option<f64>,
    ) {
        self.findings.push(Finding {
            what: what.to_owned(),
            unit: Unit::Times,
            median: long.percentile(50) / short.percentile(50),
            mean: Some(long.mean() / short.mean()),
            at_most,
        });
    }

    /// The slowest of a hundred, and its target in microseconds.
    pub(crate) fn p99(&mut self, what: &str, samples: &Samples, at_most: f64) {
        self.figure(&format!("{what}, 99 of 100"), Unit::Microseconds, samples.percentile(99), Some(at_most));
    }

    /// What something takes, and its target in microseconds.
    pub(crate) fn at_most(&mut self, what: &str, samples: &Samples, at_most: f64) {
        let (median, mean) = (samples.percentile(50), Some(samples.mean()));
        let (what, unit) = (what.to_owned(), Unit::Microseconds);
        self.findings.push(Finding { what, unit, median, mean, at_most: Some(at_most) });
    }

    /// Something that is measured once.
    pub(crate) fn figure(&mut self, what: &str, unit: Unit, value: f64, at_most: Option<f64>) {
        self.findings.push(Finding { what: what.to_owned(), unit, median: value, mean: None, at_most });
    }
}

/// Times that something took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The sample that so many of a hundred do not exceed, in microseconds; of none it is 0.
    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().map_or(0.0, microseconds)
    }

    /// The mean, in microseconds; of none it is 0.
    fn mean(&self) -> f64 {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.iter().sum::<Duration>().checked_div(count).map_or(0.0, microseconds)
    }
}

fn microseconds(time: Duration) -> f64 {
    const IN_A_SECOND: f64 = 1e6;
    time.as_secs_f64() * IN_A_SECOND
}
