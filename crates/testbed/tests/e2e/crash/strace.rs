//! What `strace` saw of a program and of whom it started.

use std::collections::BTreeMap;

/// The calls of those that the shim counts for, out of all that is in a file that `strace -f -y` wrote.
///
/// A thread does what its process does. A child is nobody until it becomes another program, and an agent stays nobody.
pub(super) struct Strace<'a> {
    lines: Vec<(u32, &'a str)>,
    /// Who made a process or a thread, and whether it is a thread.
    made: BTreeMap<u32, (u32, bool)>,
}

/// A call.
pub(super) struct Seen<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its arguments and what it returned, as far as they are on the line.
    pub(super) rest: &'a str,
}

/// The calls that make a process or a thread.
const MAKE: [&str; 4] = ["clone", "clone3", "fork", "vfork"];

impl<'a> Strace<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let lines: Vec<(u32, &str)> = text.lines().filter_map(line).collect();
        let (mut made, mut begun) = (BTreeMap::new(), BTreeMap::new());
        for (maker, call) in &lines {
            // `clone(… <unfinished ...>` and, later, `<... clone resumed>…) = 1234`.
            let resumed = MAKE.iter().any(|name| call.starts_with(&format!("<... {name} resumed>")));
            let is_thread = if resumed {
                begun.remove(maker).unwrap_or(false)
            } else if MAKE.iter().any(|name| call.starts_with(&format!("{name}("))) {
                call.contains("CLONE_THREAD")
            } else {
                continue;
            };
            match call.rsplit_once(" = ").and_then(|(_, id)| id.trim().parse().ok()) {
                Some(id) => {
                    made.insert(id, (*maker, is_thread));
                }
                None => {
                    begun.insert(*maker, is_thread);
                }
            }
        }
        Self { lines, made }
    }

    /// The calls of daemons and holders, in order. A call that was interrupted is told where it began.
    pub(super) fn calls(&self) -> Vec<Seen<'a>> {
        let mut programs: BTreeMap<u32, bool> = BTreeMap::new();
        let mut calls = Vec::new();
        for (who, call) in &self.lines {
            let Some((name, rest)) = call.split_once('(').filter(|_| !call.starts_with(['<', '+'])) else {
                continue;
            };
            if name == "execve" {
                let counts = rest.contains("[\"hold\"") || rest.contains(", \"hold\"");
                programs.insert(*who, counts || rest.contains("\"daemon\", \"run\""));
            } else if self.counts(&programs, *who) {
                calls.push(Seen { name, rest });
            }
        }
        calls
    }

    /// Whether a thread is one of a daemon or a holder.
    fn counts(&self, programs: &BTreeMap<u32, bool>, who: u32) -> bool {
        let own = programs.get(&who).copied();
        own.unwrap_or_else(|| match self.made.get(&who) {
            Some((maker, true)) => self.counts(programs, *maker),
            Some((_, false)) | None => false,
        })
    }
}

impl Seen<'_> {
    /// Whether it makes a process.
    pub(super) fn makes_process(&self) -> bool {
        MAKE.contains(&self.name) && !self.rest.contains("CLONE_THREAD")
    }

    /// Whether its first argument is a descriptor of a socket or a pipe.
    pub(super) fn is_to_channel(&self) -> bool {
        let first = self.rest.split_once(',').map_or(self.rest, |(first, _)| first);
        first.contains("<socket:") || first.contains("<pipe:")
    }
}

/// `1234 write(7</path>, …`: who, and the call.
fn line(line: &str) -> Option<(u32, &str)> {
    let (who, call) = line.split_once(' ')?;
    Some((who.parse().ok()?, call.trim_start()))
}
