#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;

use super::*;
use crate::policy::command::CommandLine;

fn pattern(text: &str) -> CommandPattern {
    CommandPattern::parse(text).unwrap()
}

/// The first command of a line.
fn first(text: &str) -> SimpleCommand {
    CommandLine::read(text).commands.into_iter().next().unwrap()
}

/// Whether a pattern allows a line: nothing is opaque, and it is about every command.
fn allows(text: &str, line: &str) -> bool {
    let line = CommandLine::read(line);
    line.opaque.is_none() && line.commands.iter().all(|command| pattern(text).matches_permissively(command))
}

#[test]
fn a_pattern_that_allows_is_about_what_is_certain() {
    let table = [
        ("git *", "git", true),
        ("git *", "git status", true),
        ("git *", "git push --force origin", true),
        ("git *", "git $x", true),
        ("git *", "gitk", false),
        ("git *", "/usr/bin/git status", false),
        ("git *", "\"$git\" status", false),
        ("git", "git", true),
        ("git", "git status", false),
        ("git status", "git", false),
        ("git status", "'git' st\\atus", true),
        ("git * origin", "git push origin", true),
        ("git * origin", "git $x origin", false),
        ("git log -?", "git log -1", true),
        ("git log -?", "git log -12", false),
        ("git log -?", "git log -*", false),
        ("npm* run", "npm-next run", true),
        ("echo 'a b'", "echo a\\ b", true),
        ("echo 'a b'", "echo a b", false),
        (r"echo \*", "echo '*'", true),
        (r"echo \*", "echo x", false),
        ("echo '*'", "echo x", false),
        ("echo ''", "echo \"\"", true),
        ("echo ''", "echo", false),
        ("*", "anything at all", true),
        ("*", "$x", false),
    ];
    for (text, line, expected) in table {
        assert_eq!(pattern(text).matches_permissively(&first(line)), expected, "{text} about {line}");
    }
}

#[test]
fn a_pattern_that_denies_is_about_whatever_may_be_meant() {
    let table = [
        ("rm *", "rm", true),
        ("rm *", "/bin/rm -rf x", true),
        ("rm *", r"\rm x", true),
        ("rm *", "rmdir x", false),
        ("rm *", "git rm x", false),
        ("rm *", "$x y", true),
        ("git push *", "git $x", true),
        ("git push --force", "git $x --force", true),
        ("git push --force", "git push $x", true),
        ("git push --force", "git pull $x", false),
        ("git push --force", "git push --force x", false),
        ("git push", "git $x push $y", true),
        ("/bin/rm *", "rm x", false),
    ];
    for (text, line, expected) in table {
        assert_eq!(pattern(text).matches_strictly(&first(line)), expected, "{text} about {line}");
    }
}

#[test]
fn a_text_that_is_no_pattern_says_why() {
    let table = [
        ("", "a pattern has at least one word"),
        (" \t", "a pattern has at least one word"),
        ("git 'status", "the quote that begins at byte 4 has no end"),
        ("git \\", "nothing follows the backslash at the end"),
    ];
    for (text, expected) in table {
        assert_eq!(CommandPattern::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn the_pattern_of_exactly_a_command_quotes_what_would_mean_more() {
    let table = [
        ("git status", Some("git status")),
        ("git log --format=%h", Some("git log --format=%h")),
        ("grep 'a b' '*' it\\'s ''", Some(r"grep 'a b' '*' 'it'\''s' ''")),
        ("echo $x", None),
    ];
    for (line, expected) in table {
        let exactly = CommandPattern::exactly(&CommandLine::read(line).commands[0]);
        assert_eq!(exactly.as_deref(), expected, "{line}");
    }
}

#[test]
fn a_pattern_of_many_stars_takes_no_exponential_time() {
    let text = "a".repeat(4096);
    let many = pattern(&"*a".repeat(64)).words.remove(0);
    assert!(!fits(&[&many[..], &[Piece::One('b')]].concat(), &text));
    let line = CommandLine::read(&format!("a {}", "$x ".repeat(4000)));
    assert!(pattern(&"*a ".repeat(500)).matches_strictly(&line.commands[0]));
}

/// A word that any text may be, and how it is written in a line.
fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,4}", r"[ -~äß漢\n]{0,8}"]
}

fn written(words: &[String]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
}

proptest! {
    #[test]
    fn the_pattern_of_exactly_a_command_is_about_no_other(
        words in prop::collection::vec(word(), 1..5),
        other in word(),
        place in 0_usize..5,
    ) {
        let line = CommandLine::read(&written(&words));
        // Some commands run what they are given.
        prop_assume!(line.opaque.is_none() && line.commands.len() == 1);
        let exactly = pattern(&CommandPattern::exactly(&line.commands[0]).unwrap());
        prop_assert!(exactly.matches_permissively(&line.commands[0]));
        prop_assert!(exactly.matches_strictly(&line.commands[0]));

        let command = |words: &[String]| SimpleCommand {
            words: words.iter().cloned().map(Word::Literal).collect(),
            wrapped: false,
        };
        let more = [&words[..], std::slice::from_ref(&other)].concat();
        prop_assert!(!exactly.matches_permissively(&command(&more)));
        prop_assert!(!exactly.matches_permissively(&command(&words[1..])));
        let mut changed = words.clone();
        let place = place % changed.len();
        changed[place] = other;
        prop_assert_eq!(exactly.matches_permissively(&command(&changed)), changed == words);
    }

    #[test]
    fn a_list_is_allowed_only_if_both_its_commands_are(
        a in "(git|rm|ls)( [a-z]{1,3}){0,2}",
        b in "(git|rm|ls)( [a-z]{1,3}){0,2}",
        joint in prop::sample::select(vec![" && ", "; ", " | ", "\n", " & ", "||"]),
        text in prop::sample::select(vec!["git *", "rm *", "ls", "*", "? *", "git ?"]),
    ) {
        let both = allows(text, &a) && allows(text, &b);
        prop_assert_eq!(allows(text, &format!("{a}{joint}{b}")), both);
    }

    #[test]
    fn a_pattern_read_from_any_text_never_panics(text in "\\PC{0,40}", line in "\\PC{0,40}") {
        if let Ok(pattern) = CommandPattern::parse(&text) {
            for command in &CommandLine::read(&line).commands {
                // What is certain is possible too.
                prop_assert!(!pattern.matches_permissively(command) || pattern.matches_strictly(command));
            }
        }
    }

    #[test]
    fn a_word_of_a_pattern_matches_as_a_plain_search_would(piece in "[ab*?]{0,6}", text in "[ab]{0,8}") {
        fn plain(piece: &[char], text: &[char]) -> bool {
            match piece.split_first() {
                None => text.is_empty(),
                Some(('*', rest)) => (0..=text.len()).any(|at| plain(rest, &text[at..])),
                Some((c, rest)) => {
                    text.split_first().is_some_and(|(t, after)| (*c == '?' || c == t) && plain(rest, after))
                }
            }
        }
        let pieces: Vec<Piece> = piece
            .chars()
            .map(|c| match c {
                '*' => Piece::Text,
                '?' => Piece::Any,
                c => Piece::One(c),
            })
            .collect();
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(fits(&pieces, &text), plain(&characters(&piece), &characters(&text)));
    }
}
