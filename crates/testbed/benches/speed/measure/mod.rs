//! The benchmarks, one file each, and what they measure with.

mod cost;
mod crowd;
mod floor;
mod gates;
mod ingest;
mod latency;
mod many;
mod preempt;
mod queue;
mod reader;
mod report;
mod slots;
mod stamp;
mod table;

pub(crate) use report::Report;

use crate::support::Fallible;

/// One benchmark.
pub(crate) struct Benchmark {
    /// How it is called on the command line and in JSON.
    pub(crate) name: &'static str,
    /// What it measures, for people.
    pub(crate) about: &'static str,
    measure: fn(Size) -> Fallible<Report>,
}

/// All of them.
pub(crate) const ALL: &[Benchmark] = &[
    Benchmark {
        name: "ingest",
        about: "lines on their whole way beside a program that only stores them, and with readers that do not read",
        measure: ingest::measure,
    },
    Benchmark {
        name: "latency",
        about: "from an agent's write to a subscriber at 1,000 lines a second, and interrupts",
        measure: latency::measure,
    },
    Benchmark {
        name: "crowd",
        about: "idle sessions: their memory, and a restart of the daemon with all of them; starts",
        measure: crowd::measure,
    },
    Benchmark {
        name: "gates",
        about: "a decision on its way to the agent, and lists and decisions by the gates that are open",
        measure: gates::measure,
    },
    Benchmark {
        name: "preempt",
        about: "a preemption beside a plain interrupt, taking turns in one session",
        measure: preempt::measure,
    },
    Benchmark {
        name: "queue",
        about: "what is done to a busy session, by the prompts that wait in it",
        measure: queue::measure,
    },
    Benchmark {
        name: "slots",
        about: "a host with one slot, by the sessions that wait for it",
        measure: slots::measure,
    },
];

impl Benchmark {
    /// Measures.
    pub(crate) fn run(&self, size: Size) -> Fallible<Report> {
        (self.measure)(size)
    }

    /// What it found, as people read it.
    pub(crate) fn table(&self, report: &Report) -> String {
        table::of(self, report)
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    /// So much that the figures mean something.
    Full,
    /// So little that it shows in a second or two whether the benchmark works.
    Quick,
}

impl Size {
    fn of<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}
