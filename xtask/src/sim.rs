//! `cargo xtask sim`: schedules of the simulator, as many as there is time for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use lockkeeper_testbed::sim::{self, Failure, Report};

use crate::report;

/// So many schedules are tried to make one that breaks a law smaller.
const TRIES: u32 = 5_000;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long
    #[arg(long, default_value = "1", value_name = "N", conflicts_with_all = ["seed", "numbers"])]
    minutes: u64,
    /// The first seed [default: one that was not there before]
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// The schedule of this seed alone
    #[arg(long, value_name = "SEED", conflicts_with = "numbers")]
    seed: Option<u64>,
    /// The schedule with these numbers alone, which a failure has told: 0,0,3,1
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    numbers: Vec<u32>,
}

/// Runs the chore.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !options.numbers.is_empty() {
        return told(sim::replay(options.numbers.clone(), None).map(|report| (1, report)));
    }
    if let Some(seed) = options.seed {
        return told(sim::run(seed, None).map(|report| (1, report)));
    }
    // Others were run before: the clock is as good as any.
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs());
    let first = options.from.unwrap_or(since << 20);
    report::line(&format!("schedules from seed {first} on, for {} min", options.minutes));
    told(for_a_while(first, Duration::from_secs(60 * options.minutes)))
}

/// Runs schedules on all cores until the time is over or a law is broken.
#[expect(clippy::disallowed_methods, reason = "a chore runs for as long as it was told to")]
fn for_a_while(first: u64, span: Duration) -> Result<(u64, Report), Box<Failure>> {
    let (next, until) = (AtomicU64::new(first), Instant::now() + span);
    let sum = Mutex::new((0, Report::default()));
    let broken: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let is_broken = || broken.lock().is_ok_and(|broken| broken.is_some());
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                while Instant::now() < until && !is_broken() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    match (sim::run(seed, None), sum.lock(), broken.lock()) {
                        (Ok(report), Ok(mut sum), _) => {
                            sum.0 += 1;
                            sum.1 += report;
                        }
                        (Err(failure), _, Ok(mut broken)) => {
                            report::line(&format!("seed {seed} breaks a law; it is made smaller"));
                            *broken = Some(failure);
                        }
                        (Ok(_), Err(_), _) | (Err(_), _, Err(_)) => {}
                    }
                }
            });
        }
    });
    match broken.into_inner() {
        Ok(Some(failure)) => Err(failure),
        Ok(None) | Err(_) => Ok(sum.into_inner().unwrap_or_default()),
    }
}

fn told(outcome: Result<(u64, Report), Box<Failure>>) -> anyhow::Result<()> {
    match outcome {
        Ok((schedules, Report { steps, events, daemons, turns })) => {
            report::line(&format!(
                "{schedules} schedules, {steps} steps, {events} events, {turns} turns, {daemons} daemons: no law is broken"
            ));
            Ok(())
        }
        Err(failure) => {
            let Failure { law, numbers, trace } = sim::smallest(*failure, None, TRIES);
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            report::line(&trace.join("\n"));
            report::line(&format!("seen again by: cargo xtask sim --numbers {}", numbers.join(",")));
            bail!("a law is broken: {law}")
        }
    }
}
