//! The benchmarks of `cargo xtask bench`, in small: that they work, and nothing of what they measure.

#[path = "../../benches/speed/measure/mod.rs"]
#[expect(dead_code, reason = "tests do not measure in full")]
mod measure;

use crate::support::{Fallible, ensure};
use measure::{ALL, Size};

#[test]
fn every_benchmark_runs_to_its_end_and_has_measured_something() -> Fallible {
    for benchmark in ALL {
        let report = benchmark.run(Size::Quick).map_err(|failure| failure.within(benchmark.name))?;
        let measured = report.measures.iter().all(|measure| measure.samples > 0);
        ensure!(measured && !report.findings.is_empty(), "{}", benchmark.table(&report));
    }
    Ok(())
}
