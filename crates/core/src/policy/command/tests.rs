//! What lines read as, and how much a hostile line costs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::limits::COMMAND_LINE_DEPTH;

/// A line's commands, files and opacity, in one line: `git status | <rm ?> <- in -> out !Reason`. What another command
/// runs stands in angles, and what is unknown is a question mark.
fn told(text: &str) -> String {
    let line = CommandLine::read(text);
    let word = |word: &Word| match word {
        Word::Literal(text) if text.is_empty() || text.contains([' ', '\n', '\r', '?']) => {
            format!("{text:?}")
        }
        Word::Literal(text) => text.clone(),
        Word::Unknown => "?".to_owned(),
    };
    let command = |command: &SimpleCommand| {
        let words = command.words.iter().map(word).collect::<Vec<_>>().join(" ");
        if command.wrapped { format!("<{words}>") } else { words }
    };
    let mut told = line.commands.iter().map(command).collect::<Vec<_>>().join(" | ");
    told.extend(line.reads.iter().map(|target| format!(" <- {}", word(target))));
    told.extend(line.writes.iter().map(|target| format!(" -> {}", word(target))));
    told.extend(line.fed.then_some(" fed"));
    told.extend(line.opaque.map(|reason| format!(" !{reason:?}")));
    told.trim_start().to_owned()
}

/// Asserts what each line reads as.
fn read_as(table: &[(&str, &str)]) {
    let differs = |(line, expected): &&(&str, &str)| told(line) != *expected;
    let differing = table
        .iter()
        .filter(differs)
        .map(|(line, expected)| format!("{line:?}\n  reads as {}\n  and not  {expected}", told(line)));
    let differing: Vec<String> = differing.collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_command_of_a_list_is_read() {
    read_as(&[
        ("", ""),
        (" # nothing", ""),
        ("git status", "git status"),
        ("git status && rm -rf /", "git status | rm -rf /"),
        ("git status; rm x", "git status | rm x"),
        ("git status | sh", "git status | sh !UnknownScript"),
        ("git status |& rm x", "git status | rm x"),
        ("git status ||rm x", "git status | rm x"),
        ("git status\nrm x", "git status | rm x"),
        ("git status & rm x", "git status | rm x"),
        ("git status &", "git status"),
        ("git status # rm x", "git status"),
        ("git status#rm x", "git status#rm x"),
        ("git status # rm\nrm x", "git status | rm x"),
        ("! git status", "git status"),
        ("(git status)", "git status"),
        ("(git status; (rm x))", "git status | rm x"),
        ("git \\\n status", "git status"),
        ("git status \\\n&& rm x", "git status | rm x"),
        ("git status )", "git status !Unreadable"),
        ("git status; }", "git status !Unreadable"),
        ("git status; fi", "git status !Unreadable"),
        ("git sta\\\ntus", "git ? !Unreadable"),
        ("git status &\\\n& rm x", "git status | rm x"),
    ]);
}

#[test]
fn every_command_of_a_compound_command_is_read() {
    read_as(&[
        ("{ rm x; }", "rm x"),
        ("{ { rm x; } }", "rm x"),
        ("{ rm x }", "rm x } !Unreadable"),
        ("if a; then b; elif c; then d; else e; fi >f", "a | b | c | d | e -> f"),
        ("while a; do b; done <f 2>&1", "a | b <- f"),
        ("until a; do b; done", "a | b"),
        ("for i in 1 $(rm x); do git $i; done", "rm x | git ?"),
        ("for i; do a; done", "a"),
        ("for PATH in x; do git a; done", "git a !Variable"),
        ("for ((i=0; i<$(a); i++)); do b; done", "a | b !Evaluation"),
        ("select x in a b; do c; done", "c"),
        ("case $(rm x) in a|b) c;; (d) e;& *) f; esac", "rm x | c | e | f"),
        ("case x in a) ;; esac; b", "b"),
        ("[[ -f x && $(rm x) ]]", "rm x"),
        ("[[ $x == a* && ( a < b ) ]] && c", "c"),
        ("[[ $x -eq 1 ]]", "!Evaluation"),
        ("[[ 1 -eq 1 ]]", ""),
        ("[[ -v 'a[$(rm x)]' ]]", "!Evaluation"),
        ("((x=$(rm x)))", "rm x !Evaluation"),
        ("(( 1 + 2 ))", ""),
        ("((rm x) ; (rm y))", "!Evaluation"),
        ("(\\\n( 1 # $(rm x)\n))", "!Unreadable"),
        ("coproc rm x", "rm x"),
        ("coproc { rm x; }", "rm x"),
        ("time rm x", "time rm x | <rm x>"),
        ("time -p { rm x; }", "rm x"),
        ("time >x -- rm x", "time -- rm x | <-- rm x> | <rm x> -> x"),
        ("a | time { rm x; }", "a !Unreadable"),
        ("time -o rm x", "time -o rm x | <-o rm x> | <x>"),
        ("f() { rm x; }; f", "rm x | f !Function"),
        ("git () (rm x)", "rm x !Function"),
        ("function git { rm x; }; git a", "rm x | git a !Function"),
        ("! (rm x)", "rm x"),
        ("!(rm x)", "!Unreadable"),
        ("echo @(a|b)", "echo @ !Unreadable"),
    ]);
}

#[test]
fn every_command_of_a_substitution_is_read() {
    read_as(&[
        ("git $(rm x)", "git ? | rm x"),
        ("git \"$(rm x)\"", "git ? | rm x"),
        ("git '$(rm x)'", "git \"$(rm x)\""),
        ("git \"\\$(rm x)\"", "git \"$(rm x)\""),
        ("git `rm x`", "git ? | rm x"),
        ("git \"`rm x`\"", "git ? | rm x"),
        ("git `a \\`rm x\\``", "git ? !Unreadable"),
        ("git `a # `; rm x`", "git ? !Unreadable"),
        ("git $(a $(b \"$(c)\"))", "git ? | a ? | b ? | c"),
        ("git $(a # )\n) b", "git ? b | a"),
        ("git $(a ')' && rm x)", "git ? | a ) | rm x"),
        ("git $(case a in a) rm x;; esac)", "git ? | rm x"),
        ("x=$(rm x)", "rm x"),
        ("a=($(rm x) \"$(rm y)\")", "rm x | rm y"),
        ("a=([0]=1)", "!Evaluation"),
        ("a[1]=$(rm x)", "rm x"),
        ("a[$(rm x)]=1", "!Unreadable"),
        ("x='a[$(rm x)]'", "!Evaluation"),
        ("cat <(rm x) >(rm y)", "cat ? ? | rm x | rm y"),
        ("cat > >(rm x)", "cat | rm x -> ?"),
        ("git > $(rm x)", "git | rm x -> ?"),
        ("echo ${x:-$(rm x)}", "echo ? | rm x"),
        ("echo \"${x:-$(rm x)}\"", "echo ? | rm x"),
        ("echo ${x/a/`rm x`} ${#x} ${x##*/} ${x[1]} ${x[@]}", "echo ? ? ? ? ? | rm x"),
        ("echo ${x:0:3} ${x: -1}", "echo ? ?"),
        ("echo ${x:y}", "echo ? !Evaluation"),
        ("echo ${!x}", "echo ? !Evaluation"),
        ("echo ${x@P}", "echo ? !Evaluation"),
        ("echo ${PATH:=x}", "echo ? !Variable"),
        ("echo ${a[$(rm x)]}", "echo ? !Unreadable"),
        ("echo \"${x:-'}\"; rm x; echo \"'}\"", "echo ? !Unreadable"),
        ("echo $((1 + 2))", "echo ?"),
        ("echo $((x))", "echo ? !Evaluation"),
        ("echo $(( $(rm x) ))", "echo ? | rm x !Evaluation"),
        ("echo $((a); (b))", "echo ? !Evaluation"),
        ("echo $[ $(rm x) ]", "echo ? !Unreadable"),
        ("echo \"$\\\n(rm x)\"", "echo ? !Unreadable"),
    ]);
}

#[test]
fn words_are_read_as_bash_reads_them() {
    read_as(&[
        ("'git' status", "git status"),
        ("g\\it \"sta\"'tus'", "git status"),
        ("\"if\" x", "if x"),
        ("echo \"a && rm x\"", "echo \"a && rm x\""),
        ("echo \"it's\" 'say \"x\"' ''", "echo it's \"say \\\"x\\\"\" \"\""),
        ("echo $'a\\'; b' $'\\x41' $\"a\"", "echo \"a'; b\" ? ?"),
        // What a dollar sign and a quote mean depends on what stands before them.
        ("git \\$'\\'; rm x; #'", "git $\\ | rm x"),
        ("git $$'\\'; rm x; #'", "git ? | rm x"),
        ("git \"$\"'\\'; rm x; #'", "git $\\ | rm x"),
        ("echo $x ${x} $1 $@ $? \"$x\" a$", "echo ? ? ? ? ? ? a$"),
        ("echo *.rs a? [ab] [ 'a*' \\*", "echo ? ? ? [ a* *"),
        ("echo {a,b} {1..3} {} a{b} stash@{0}", "echo ? ? {} a{b} stash@{0}"),
        ("echo ~ ~/x a~b x=~ =git", "echo ? ? a~b ? ?"),
        ("$X foo", "? foo !UnknownName"),
        ("\"$(which git)\" a", "? a | which git !UnknownName"),
        ("git 'a", "git ? !Unreadable"),
        ("git \"a; rm x", "git ? !Unreadable"),
        ("git $(rm x", "git ? | rm x !Unreadable"),
        ("git \\", "git ? !Unreadable"),
        // A Cyrillic letter makes another name, and a space that is none to bash does not end a word.
        ("g\u{456}t status", "g\u{456}t status"),
        ("git\u{a0}status", "git\u{a0}status"),
        ("git status\r\nrm x\r\n", "git \"status\\r\" | rm \"x\\r\" !Control"),
        ("git\0status", "git\0status !Control"),
        ("git \u{202e}sutats", "git \u{202e}sutats !Control"),
    ]);
}

#[test]
fn files_that_redirections_open_are_told() {
    read_as(&[
        ("git status > /etc/passwd", "git status -> /etc/passwd"),
        ("git status &>out", "git status -> out"),
        ("git status &>>out", "git status -> out"),
        ("git status >&out", "git status -> out"),
        ("git status >&'2'x", "git status -> ?"),
        ("git status 2>&1 >&- <&0 2>/dev/null", "git status"),
        ("git status >&-rm", "git status rm"),
        ("git status >& -rm", "git status rm"),
        (">&-rm x", "rm x"),
        ("git status >|a >>b <c <>d", "git status <- c <- d -> a -> b -> d"),
        ("git status>a", "git status -> a"),
        ("git status 2>a", "git status -> a"),
        ("git status x2>a", "git status x2 -> a"),
        ("git 99999999999>x", "git !Unreadable"),
        ("git {fd}>x", "git !Unreadable"),
        (">x", "-> x"),
        ("2>x rm y >$z", "rm y -> x -> ?"),
        ("> '/dev/null'", ""),
        ("{ a; } >x | b", "a | b -> x"),
        ("echo >a >\\\n>b", "echo -> a !Unreadable"),
    ]);
}

#[test]
fn here_documents_are_read_for_what_they_expand() {
    read_as(&[
        ("cat <<E\n$(rm x)\nE\ngit status", "cat | rm x | git status fed"),
        ("cat <<E\n\\$(rm x) it's \"`rm y`\"\nE", "cat | rm y fed"),
        ("cat <<'E'\n$(rm x)\nE\ngit status", "cat | git status fed"),
        ("cat <<\\E | sh\n$(rm x)\nE", "cat | sh fed !UnknownScript"),
        ("cat <<-E\n\ta\n\tE\nrm x", "cat | rm x fed"),
        ("cat <<A <<B\na\nA\n$(rm x)\nB\nrm y", "cat | rm x | rm y fed"),
        ("x=$(cat <<'E'\nit's )\nE\n)", "cat fed"),
        ("x=$(cat <<'E'\na\nE\nrm; x)", "cat fed !Unreadable"),
        ("cat <<< \"$(rm x)\"", "cat | rm x fed"),
        // A line that goes on may become the end of the body, and so may one that only begins like it.
        ("cat <<E\nE\\\n\nrm x\nE", "cat fed !Unreadable"),
        ("cat <<E\nE)\nrm x\nE", "cat fed !Unreadable"),
        ("cat <<E \"\n\"\nE", "cat ? fed !Unreadable"),
        ("cat <<E $(a\nb)\nE", "cat ? | a | b fed !Unreadable"),
        ("cat <<$x\nE", "cat fed !Unreadable"),
        ("cat <<E\na", "cat fed !Unreadable"),
        ("cat <<E", "cat fed !Unreadable"),
    ]);
}

#[test]
fn what_another_command_runs_is_listed_too() {
    read_as(&[
        ("sudo -u root rm x", "sudo -u root rm x | <rm x>"),
        ("sudo -nu root rm x", "sudo -nu root rm x | <rm x>"),
        ("sudo --user root rm x", "sudo --user root rm x | <root rm x> | <rm x>"),
        ("/usr/bin/sudo rm x", "/usr/bin/sudo rm x | <rm x>"),
        ("sudo $x rm y", "sudo ? rm y | <rm y> | <y> !UnknownScript"),
        ("env -i X=1 rm x", "env -i X=1 rm x | <rm x> !Variable"),
        ("env -S 'rm x'", "env -S \"rm x\" | <\"rm x\"> !UnknownScript"),
        ("env -iS'rm x'", "env \"-iSrm x\" !UnknownScript"),
        ("nohup nice -n 5 rm x", "nohup nice -n 5 rm x | <nice -n 5 rm x> | <rm x>"),
        ("timeout -s KILL 5 rm x", "timeout -s KILL 5 rm x | <rm x>"),
        ("timeout --foreground 5 rm x", "timeout --foreground 5 rm x | <rm x> | <x>"),
        (
            "stdbuf -oL setsid -w ionice -c3 rm x",
            "stdbuf -oL setsid -w ionice -c3 rm x | <setsid -w ionice -c3 rm x> | <ionice -c3 rm x> | <rm x>",
        ),
        ("xargs -0 -n 1 rm -f", "xargs -0 -n 1 rm -f | <rm -f ?>"),
        ("xargs -I{} rm a{}b", "xargs -I{} rm a{}b | <rm ? ?>"),
        ("xargs -0I % sh -c %", "xargs -0I % sh -c % | <sh -c ? ?> !UnknownScript"),
        (
            "command rm x; builtin eval 'rm y'",
            "command rm x | <rm x> | builtin eval \"rm y\" | <eval \"rm y\"> | <rm y>",
        ),
        ("command -v rm", "command -v rm"),
        ("exec -a git rm x", "exec -a git rm x | <rm x>"),
        ("exec 3>x", "exec -> x"),
        ("find . -name 'x' -exec rm {} +", "find . -name x -exec rm {} + | <rm ?>"),
        ("find . -exec a + \\; -ok rm x \\; -print", "find . -exec a + ; -ok rm x ; -print | <a +> | <rm x>"),
        ("find . $x", "find . ? !UnknownScript"),
        ("eval rm 'x; rm y'", "eval rm \"x; rm y\" | <rm x> | <rm y>"),
        ("eval \"$x\"", "eval ? !UnknownScript"),
        ("bash -c 'rm x'", "bash -c \"rm x\" | <rm x>"),
        ("bash -lc \"rm x > y\" a", "bash -lc \"rm x > y\" a | <rm x> -> y"),
        ("bash -O extglob -ce -- 'rm x'", "bash -O extglob -ce -- \"rm x\" | <rm x>"),
        ("bash -c \"$x\"", "bash -c ? !UnknownScript"),
        ("bash -c 'rm \"'; rm y", "bash -c \"rm \\\"\" | <rm ?> | rm y !Unreadable"),
        ("sh -c \"sh -c 'rm x'\"", "sh -c \"sh -c 'rm x'\" | <sh -c \"rm x\"> | <rm x>"),
        ("bash script.sh", "bash script.sh"),
        ("watch -n 2 rm x", "watch -n 2 rm x | <2 rm x> | <rm x>"),
        ("parallel rm ::: a", "parallel rm ::: a | <rm ::: a> !UnknownScript"),
        ("trap 'rm x' EXIT; trap - INT", "trap \"rm x\" EXIT | <rm x> | trap - INT"),
        ("source $x; . y", "source ? | . y !UnknownScript"),
        ("ssh host rm x", "ssh host rm x"),
    ]);
}

#[test]
fn what_changes_the_shell_is_opaque() {
    read_as(&[
        ("FOO=1 git status", "git status !Variable"),
        ("x=1", ""),
        ("x=1; git $x", "git ?"),
        ("PATH=/tmp; git status", "git status !Variable"),
        ("GIT_PAGER=x; git log", "git log !Variable"),
        ("export PATH=/tmp", "export PATH=/tmp !Variable"),
        ("export $x", "export ? !Variable"),
        ("export FOO=1", "export FOO=1"),
        ("read x", "read x"),
        ("read PATH", "read PATH !Variable"),
        ("printf $x", "printf ? !Variable"),
        ("printf '%s' $x", "printf %s ?"),
        ("printf -v 'a[$(rm x)]' y", "printf -v \"a[$(rm x)]\" y !Evaluation"),
        ("[ -v $x ]", "[ -v ? ] !Variable"),
        ("[ -f $x ]", "[ -f ? ]"),
        ("let x", "let x !Evaluation"),
        ("alias git=rm", "alias git=rm !Shell"),
        ("hash -p /tmp/x git", "hash -p /tmp/x git !Shell"),
        ("set -euo pipefail", "set -euo pipefail"),
        ("set -k", "set -k !Shell"),
        ("shopt -s extglob", "shopt -s extglob !Shell"),
    ]);
}

#[test]
fn reasons_tell_people_what_is_wrong() {
    for (line, expected) in [
        ("$x", "the name of a command is known only when it runs"),
        ("A=1 b", "it sets a variable that may change what runs"),
        ("bash -c \"$x\"", "what one of its commands runs is known only when it runs"),
    ] {
        assert_eq!(CommandLine::read(line).opaque.unwrap().to_string(), expected, "{line}");
    }
}

/// Reads a line on a stack of the default size of a thread, and fails if that takes long or overflows it.
fn read_bounded(text: String) -> CommandLine {
    let (sent, received) = std::sync::mpsc::channel();
    let shown: String = text.chars().take(40).collect();
    std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || sent.send(CommandLine::read(&text)))
        .unwrap();
    let read = received.recv_timeout(Duration::from_secs(10));
    assert!(read.is_ok(), "too slow, or no end: {shown}");
    read.unwrap()
}

/// What opens a nested construct, and what closes it.
const NESTING: [(&str, &str); 24] = [
    ("(", ")"),
    ("( ", " )"),
    ("{ ", "; }"),
    ("if a; then ", "; fi"),
    ("if ", "; then a; fi"),
    ("while ", "; do a; done"),
    ("for i in a; do ", "; done"),
    ("case a in a) ", "; esac"),
    ("[[ ( ", " ) ]]"),
    ("! ", ""),
    ("f() { ", "; }"),
    ("coproc ", ""),
    ("time ", ""),
    ("a $(", ")"),
    ("a \"$(", ")\""),
    ("a \"${x:-", "}\""),
    ("a $((", "))"),
    ("(( ", " ))"),
    ("a <(", ")"),
    ("a ${x[${x[", "]}]}"),
    ("a `", "`"),
    ("sudo -x eval ", ""),
    ("eval -x watch -x xargs -x ", ""),
    ("cat <<E $(", ")"),
];

#[test]
fn nesting_within_the_bound_is_read_and_beyond_it_is_opaque() {
    for (open, close) in [("( ", " )"), ("a $(", ")"), ("if a; then ", "; fi"), ("a \"$(", ")\"")] {
        let nested = |depth: usize| format!("{}rm x{}", open.repeat(depth), close.repeat(depth));
        let line = read_bounded(nested(COMMAND_LINE_DEPTH / 2));
        assert_eq!(line.opaque, None, "{open}");
        let rm = line.commands.last().unwrap();
        assert_eq!(rm.words, ["rm", "x"].map(|word| Word::Literal(word.to_owned())), "{open}");
        assert_eq!(read_bounded(nested(COMMAND_LINE_DEPTH + 1)).opaque, Some(Opaque::TooDeep), "{open}");
    }
}

#[test]
fn no_hostile_line_takes_long_or_overflows_the_stack() {
    let limit = |text: &str| text.chars().take(COMMAND_LINE_BYTES).collect::<String>();
    for (open, close) in NESTING {
        for depth in [COMMAND_LINE_DEPTH / 2, COMMAND_LINE_DEPTH, COMMAND_LINE_BYTES / open.len()] {
            read_bounded(limit(&format!("{}a{}", open.repeat(depth), close.repeat(depth))));
            read_bounded(limit(&open.repeat(depth)));
            read_bounded(limit(&format!("{}\n", close.repeat(depth))));
        }
    }
    let repeated = [
        "a||",
        "a;",
        "a\n",
        "`a` ",
        "$(a) ",
        "'",
        "\"",
        "\\",
        "$",
        "{",
        "a=(",
        "a <<E\nx\nE\n",
        "a <<E ",
        "x=1 ",
        "a() ",
        ">a ",
        "<(a) ",
        "$'",
        "${x:-",
        "$((1))",
        "[",
        "~",
        "*",
        "sudo ",
        "sudo -x ",
        "env sudo -x eval ",
        "xargs -x ",
        "find . -exec ",
        "find -exec ;",
        "eval ",
        "watch -x ",
        "bash -c ",
        "sh -o -c ",
        "timeout -x ",
        "\u{e9}",
        "#\n",
    ];
    for text in repeated {
        read_bounded(limit(&text.repeat(COMMAND_LINE_BYTES)));
    }
    // Scripts in scripts, quoted once more at each level.
    let mut script = "rm x".to_owned();
    while script.len() < COMMAND_LINE_BYTES / 4 {
        script = format!("bash -c '{}'", script.replace('\'', r"'\''"));
    }
    let line = read_bounded(script);
    assert_eq!(line.commands.last().unwrap().words[0], Word::Literal("rm".to_owned()));
}

#[test]
fn a_line_that_is_too_long_is_opaque() {
    let line = CommandLine::read(&"a".repeat(COMMAND_LINE_BYTES));
    assert_eq!(line.opaque, None);
    let line = CommandLine::read(&"a".repeat(COMMAND_LINE_BYTES + 1));
    assert_eq!((line.commands, line.opaque), (Vec::new(), Some(Opaque::TooLong)));
}

/// A text made of what has a meaning in a shell.
fn shellish() -> impl Strategy<Value = String> {
    let pieces = [
        "rm", "git ", "x", " ", "\n", ";", "&", "|", "(", ")", "<", ">", "$", "`", "'", "\"", "\\", "{", "}",
        "[", "]", "#", "!", "=", "~", "*", "$(", "${", "$((", "))", "<<E", "\nE\n", "if ", "then ", "fi",
        "do ", "done", "case ", " in ", "esac", "[[ ", " ]]", "f()", "eval ", "sudo -x ", "xargs ",
        "bash -c ", "1>", "x=", "é", "\u{202e}", "\0", "\r\n",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn reading_any_text_ends_without_a_panic(text in prop_oneof![any::<String>(), shellish()]) {
        let line = CommandLine::read(&text);
        prop_assert!(line.commands.iter().all(|command| !command.words.is_empty()));
    }

    #[test]
    fn what_is_joined_to_a_line_is_among_its_commands_or_the_line_is_opaque(
        line in shellish(),
        joint in prop::sample::select(vec!["; ", " && ", " | ", "\n", " & ", " || "]),
    ) {
        let joined = CommandLine::read(&format!("{line}{joint}zap y"));
        let zap = ["zap", "y"].map(|word| Word::Literal(word.to_owned()));
        // Behind an escaped end the line goes on; behind the others the text is none of a command.
        let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
        let goes_on = joint == "\n" && backslashes % 2 == 1;
        let passed = goes_on || line.rsplit('\n').next().unwrap().contains('#') || line.contains("<<");
        prop_assert!(
            passed || joined.opaque.is_some() || joined.commands.iter().any(|command| command.words.ends_with(&zap)),
            "{:?}", joined
        );
    }

    #[test]
    fn a_literal_word_reads_back_from_any_of_its_spellings(word in "[ -~]{1,12}") {
        let quoted = format!("'{}'", word.replace('\'', r"'\''"));
        let escaped: String = word.chars().flat_map(|c| ['\\', c]).collect();
        let double: String = word
            .chars()
            .flat_map(|c| if "$`\"\\".contains(c) { vec!['\\', c] } else { vec![c] })
            .collect();
        for spelling in [quoted, escaped, format!("\"{double}\"")] {
            let line = CommandLine::read(&format!("echo {spelling}"));
            prop_assert_eq!(&line.commands[0].words[1..], &[Word::Literal(word.clone())], "{}", spelling);
        }
    }
}
