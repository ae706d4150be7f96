//! Two texts, line by line: what goes, what comes, and what stays.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Lines of both texts together for which the fewest changes are looked for. That takes time by the square of what
/// differs; beyond this it would keep somebody waiting who is to decide, and nobody reads that many changes line by line.
const MOST_LINES: usize = 4000;

/// Lines that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// They are in both.
    Same(&'a [&'a str]),
    /// They are in the old text alone.
    Gone(&'a [&'a str]),
    /// They are in the new text alone.
    Added(&'a [&'a str]),
}

/// What leads from the old lines to the new ones. Lines are compared to the byte.
pub(super) fn diff<'a>(old: &'a [&'a str], new: &'a [&'a str]) -> Vec<Run<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = ((&old[..head], &old[head..]), (&new[..head], &new[head..]));
    let tail = old.1.iter().rev().zip(new.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, end) = old.1.split_at(old.1.len() - tail);
    let new_middle = &new.1[..new.1.len() - tail];
    let mut runs = vec![Run::Same(old.0)];
    if old_middle.len() + new_middle.len() > MOST_LINES {
        runs.extend([Run::Gone(old_middle), Run::Added(new_middle)]);
    } else {
        for op in capture_diff_slices(Algorithm::Myers, old_middle, new_middle) {
            runs.extend(steps(op, old_middle, new_middle));
        }
    }
    runs.push(Run::Same(end));
    runs.retain(|run| match run {
        Run::Same(lines) | Run::Gone(lines) | Run::Added(lines) => !lines.is_empty(),
    });
    runs
}

fn steps<'a>(op: DiffOp, old: &'a [&'a str], new: &'a [&'a str]) -> [Run<'a>; 2] {
    let (old, new) = (&old[op.old_range()], &new[op.new_range()]);
    match op {
        DiffOp::Equal { .. } => [Run::Same(old), Run::Same(&[])],
        DiffOp::Delete { .. } | DiffOp::Insert { .. } | DiffOp::Replace { .. } => {
            [Run::Gone(old), Run::Added(new)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(old: &[&str], new: &[&str]) -> String {
        let mut text = String::new();
        for run in diff(old, new) {
            let (mark, lines) = match run {
                Run::Same(lines) => (' ', lines),
                Run::Gone(lines) => ('-', lines),
                Run::Added(lines) => ('+', lines),
            };
            for line in lines {
                text.push(mark);
                text.push_str(line);
            }
        }
        text
    }

    #[test]
    fn what_goes_comes_and_stays() {
        assert_eq!(marked(&["a", "b", "c"], &["a", "x", "c"]), " a-b+x c");
        assert_eq!(marked(&["a", "b", "c", "d"], &["a", "c", "e", "d"]), " a-b c+e d");
        assert_eq!(marked(&["a"], &["a"]), " a");
        assert_eq!(marked(&[], &["a", "b"]), "+a+b");
        assert_eq!(marked(&["a", "b"], &[]), "-a-b");
        assert_eq!(marked(&[], &[]), "");
        // A line is not looked for at the beginning and at the end at once.
        assert_eq!(marked(&["a"], &["a", "a"]), " a+a");
    }

    #[test]
    fn both_sides_can_be_told_from_it() {
        let texts = ["", "ab", "ba", "abcabba", "cbabac", "xyz", "aaaa", "aa"];
        for (old, new) in texts.iter().flat_map(|old| texts.map(|new| (old, new))) {
            let lines =
                |text: &'static str| text.split("").filter(|line| !line.is_empty()).collect::<Vec<_>>();
            let text = marked(&lines(old), &lines(new));
            let side = |without: &str| {
                let pairs = text.as_bytes().chunks(2).filter(|pair| !without.as_bytes().contains(&pair[0]));
                pairs.map(|pair| char::from(pair[1])).collect::<String>()
            };
            assert_eq!((side("+").as_str(), side("-").as_str()), (*old, new), "{text}");
        }
    }

    #[test]
    fn texts_that_differ_in_too_many_lines_are_set_one_below_the_other() {
        let numbers: Vec<String> = (0..MOST_LINES).map(|no| no.to_string()).collect();
        let old: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let new: Vec<&str> = old.iter().rev().copied().collect();
        assert_eq!(diff(&old, &new), [Run::Gone(&old), Run::Added(&new)]);
        // What is alike around a change does not count.
        let mut changed = old.clone();
        changed[MOST_LINES / 2] = "other";
        let at = MOST_LINES / 2;
        let one = [
            Run::Same(&old[..at]),
            Run::Gone(&old[at..=at]),
            Run::Added(&["other"]),
            Run::Same(&old[at + 1..]),
        ];
        assert_eq!(diff(&old, &changed), one);
    }
}
