//! `#HESUAN --flag` lines of a script: in the comments before its first command, within its first 32 KiB. The script itself
//! is sent as it is, these lines included.

/// How far into a script directives are looked for, in bytes.
pub const BYTES_MAX: usize = 32 * 1024;

const MARK: &str = "#HESUAN";

/// The words of all directives, as if they had been typed one after the other.
///
/// # Errors
/// Text for the user, with the line, when a quote is not closed or something else than a flag is given.
pub fn words(script: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for (number, line) in head(script).lines().enumerate() {
        let line = line.trim_end();
        if !line.starts_with('#') {
            if line.trim().is_empty() {
                continue;
            }
            break;
        }
        let Some(rest) = line.strip_prefix(MARK) else { continue };
        if !rest.starts_with([' ', '\t']) {
            continue;
        }
        let found = split(rest).map_err(|error| format!("line {}: {error}", number + 1))?;
        if found.first().is_some_and(|word| !word.starts_with('-')) {
            return Err(format!(
                "line {}: \"{}\" is no flag: write {MARK} --flag value",
                number + 1,
                found[0]
            ));
        }
        if found.iter().any(|word| word == "--") {
            return Err(format!(
                "line {}: a command is no directive: write it below, as a line of the script",
                number + 1
            ));
        }
        words.extend(found);
    }
    Ok(words)
}

fn head(script: &str) -> &str {
    let mut end = script.len().min(BYTES_MAX);
    while !script.is_char_boundary(end) {
        end -= 1;
    }
    &script[..end]
}

/// Words as a shell would see them: blanks part them, quotes and backslashes keep them together, `#` begins a comment.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '#' if word.is_none() => break,
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("the quote {c} is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directives_stand_in_the_comments_before_the_first_command() {
        let script = "#!/bin/bash\n\
            # trains a model\n\
            #HESUAN --cpus 4 --mem 8GiB   # per task\n\
            #HESUAN\t--name \"two words\" --env 'A=it is' --label a=\\#1\n\
            \n\
            #HESUANX --ignored\n\
            ##HESUAN --ignored\n\
            #HESUAN --time=2h\n\
            echo start\n\
            #HESUAN --priority 9\n";
        let expected = [
            "--cpus",
            "4",
            "--mem",
            "8GiB",
            "--name",
            "two words",
            "--env",
            "A=it is",
            "--label",
            "a=#1",
            "--time=2h",
        ];
        assert_eq!(words(script).expect("the script is good"), expected);
    }

    #[test]
    fn windows_line_ends_do_no_harm() {
        assert_eq!(
            words("#!/bin/sh\r\n#HESUAN --cpus 2\r\n").expect("good"),
            ["--cpus", "2"]
        );
    }

    #[test]
    fn a_mistake_is_reported_with_its_line() {
        assert!(
            words("#!/bin/sh\n#HESUAN --name \"open\n")
                .expect_err("a quote is open")
                .starts_with("line 2:")
        );
        assert!(words("#HESUAN cpus 2\n").expect_err("no flag").contains("\"cpus\""));
        assert!(words("#HESUAN --cpus 2 -- rm\n").is_err());
    }

    #[test]
    fn past_32_kib_nothing_is_read() {
        let script = format!("#!/bin/sh\n#{}\n#HESUAN --cpus 2\n", "合".repeat(BYTES_MAX / 3));
        assert!(words(&script).expect("good").is_empty());
    }

    proptest! {
        #[test]
        fn a_quoted_word_comes_back(word in "[^'\r\n]{1,20}") {
            let found = words(&format!("#HESUAN --name '{word}'\n"));
            prop_assert_eq!(found, Ok(vec!["--name".to_owned(), word]));
        }

        #[test]
        fn reading_never_panics(script in "(#HESUAN \\PC{0,30}\n){0,4}\\PC{0,40}") {
            let _ = words(&script);
        }
    }
}
