//! What was measured, as people read it.

use std::fmt::Write as _;

use super::Benchmark;
use super::report::{Finding, Report, Unit};

/// The table of one benchmark, and what follows from it.
pub(super) fn of(benchmark: &Benchmark, report: &Report) -> String {
    let width = report.measures.iter().map(|measure| measure.what.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}: {}\n", benchmark.name, benchmark.about);
    let mut line = |what: &str, cells: [&str; 5]| {
        let [samples, median, p95, p99, mean] = cells;
        // Writing to a text cannot fail.
        let _ = writeln!(text, "  {what:width$}  {samples:>7}  {median:>9}  {p95:>9}  {p99:>9}  {mean:>9}");
    };
    line("", ["SAMPLES", "MEDIAN", "P95", "P99", "MEAN"]);
    for measure in &report.measures {
        let cells = [measure.median_us, measure.p95_us, measure.p99_us, measure.mean_us].map(duration);
        let [median, p95, p99, mean] = &cells;
        line(&measure.what, [&measure.samples.to_string(), median, p95, p99, mean]);
    }
    for finding in &report.findings {
        // As above.
        let _ = writeln!(text, "  → {}", sentence(finding));
    }
    text + "\n"
}

fn sentence(finding: &Finding) -> String {
    let show = |value: f64| match finding.unit {
        Unit::Microseconds => duration(value),
        Unit::Times => format!("{value:.2} ×"),
        Unit::Kilobytes => format!("{value:.0} kB"),
    };
    let target = finding.at_most.map(|most| {
        let word = if finding.median <= most { "met" } else { "MISSED" };
        format!(" (target: at most {}; {word})", show(most))
    });
    let (value, target) = (show(finding.median), target.unwrap_or_default());
    match finding.mean {
        Some(mean) => format!("{}: {value} at the median{target}, {} in the mean", finding.what, show(mean)),
        None => format!("{}: {value}{target}", finding.what),
    }
}

/// With three digits or so, in the unit that suits it.
fn duration(microseconds: f64) -> String {
    const MILLISECOND: f64 = 1000.0;
    const SECOND: f64 = 1000.0 * MILLISECOND;
    match microseconds.abs() {
        size if size >= SECOND => format!("{:.2} s", microseconds / SECOND),
        size if size >= MILLISECOND => format!("{:.2} ms", microseconds / MILLISECOND),
        size if size >= 100.0 => format!("{microseconds:.0} µs"),
        _ => format!("{microseconds:.1} µs"),
    }
}
