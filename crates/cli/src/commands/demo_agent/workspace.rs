//! What the agent reads and writes: the names of files, and one new file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path};

use serde_json::Value;

/// Files that are named at most.
const NAMED: usize = 20;
/// Lines of the prompt that the file repeats at most, and characters of each.
const PROMPT_LINES: usize = 10;
const PROMPT_CHARS: usize = 100;

/// The names of the files in the workspace, hidden ones left out, in order.
pub(super) fn files(dir: &str) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && !name.chars().any(char::is_control))
        .collect();
    names.sort_unstable();
    names.truncate(NAMED);
    Ok(names)
}

/// The file to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// Its name in the workspace.
    pub(super) name: String,
    /// Its whole path.
    pub(super) path: String,
    /// What it will hold.
    pub(super) content: String,
}

impl Draft {
    /// A test that passes, under a name that is free.
    pub(super) fn new(dir: &str, prompt: &str, files: &[String]) -> Self {
        let name = free_name(Path::new(dir));
        let asked: Vec<String> = prompt
            .lines()
            .take(PROMPT_LINES)
            .map(|line| line.chars().filter(|c| !c.is_control()).take(PROMPT_CHARS).collect::<String>())
            .map(|line| format!("#   {line}").trim_end().to_owned())
            .collect();
        // The first of the files is there to be tested for.
        let (what, test) = match files.first() {
            Some(file) => (format!("{file} is there"), format!("test -e {}", quote(&format!("./{file}")))),
            None => ("the workspace is there".to_owned(), "test -d .".to_owned()),
        };
        let content = format!(
            "#!/bin/sh\n# Written by Lockkeeper's demonstration agent, which was asked:\n{}\n# Run it with: sh {name}\n\
             set -eu\ncd \"$(dirname \"$0\")\"\n{test}\necho {}\n",
            asked.join("\n"),
            quote(&format!("ok: {what}")),
        );
        Self { path: Path::new(dir).join(&name).to_string_lossy().into_owned(), name, content }
    }
}

fn free_name(dir: &Path) -> String {
    let name = |no: u32| {
        if no == 1 { "lockkeeper_demo_test.sh".to_owned() } else { format!("lockkeeper_demo_test_{no}.sh") }
    };
    // A link that leads nowhere takes its name too.
    (1..u32::MAX)
        .map(name)
        .find(|name| dir.join(name).symlink_metadata().is_err())
        .unwrap_or_else(|| name(u32::MAX))
}

/// A word of a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes the file that was decided upon: a new one, inside the workspace. Tells its path from there.
pub(super) fn write(dir: &str, input: &Value) -> Result<String, String> {
    let text = |name: &str| {
        input.get(name).and_then(Value::as_str).ok_or_else(|| format!("the input has no {name}"))
    };
    let (path, content) = (text("file_path")?, text("content")?);
    let whole = Path::new(dir).join(path);
    let inside = whole.strip_prefix(dir).map_err(|_| format!("{path} is outside of the workspace"))?;
    if inside.components().count() != 1 || !matches!(inside.components().next(), Some(Component::Normal(_))) {
        return Err(format!("{path} is not directly in the workspace"));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&whole)
        .map_err(|error| format!("{path} cannot be written: {error}"))?;
    file.write_all(content.as_bytes()).map_err(|error| format!("{path} cannot be written: {error}"))?;
    Ok(inside.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_that_exists_is_never_written() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().to_string_lossy().into_owned();
        fs::write(dir.path().join("a.txt"), "mine")?;
        std::os::unix::fs::symlink("/nowhere", dir.path().join("link"))?;
        for path in ["a.txt", "link", "../b.txt", "/etc/lk-demo", "sub/b.txt", ".", ""] {
            assert!(write(&root, &json!({"file_path": path, "content": "x"})).is_err(), "{path}");
        }
        assert_eq!(fs::read_to_string(dir.path().join("a.txt"))?, "mine");
        assert_eq!(
            write(&root, &json!({"file_path": format!("{root}/b.txt"), "content": "x"})),
            Ok("b.txt".to_owned())
        );
        Ok(())
    }

    #[test]
    fn the_test_that_it_writes_passes() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().to_string_lossy().into_owned();
        fs::write(dir.path().join("it's $(here).txt"), "")?;
        fs::write(dir.path().join("lockkeeper_demo_test.sh"), "")?;
        let draft = Draft::new(&root, "add a test\u{1b}[2J\n'; rm -rf x", &files(&root)?);
        assert_eq!(draft.name, "lockkeeper_demo_test_2.sh");
        write(&root, &json!({"file_path": draft.path, "content": draft.content}))?;
        let output = std::process::Command::new("sh").arg(&draft.path).output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok: it's $(here).txt is there\n");
        assert!(draft.content.contains("#   add a test[2J\n#   '; rm -rf x\n"), "{}", draft.content);
        Ok(())
    }
}
