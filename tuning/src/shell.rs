//! Plain shell, for the script of the next boot and for the one that people run themselves.

/// A word that the shell takes as it is.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Writes a value into a file.
pub fn write(value: &str, path: &str) -> String {
    format!("echo {} >{}", quoted(value), quoted(path))
}

/// The same for the interrupt of that name, whose number is another one after each boot.
pub fn write_interrupt(value: &str, name: &str) -> String {
    format!(
        "awk -v name={} '$NF == name {{ sub(\":\", \"\", $1); print $1 }}' /proc/interrupts |\n\
         while read -r irq; do echo {} >\"/proc/irq/$irq/smp_affinity_list\"; done",
        quoted(name),
        quoted(value)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_would_take_apart_is_quoted() {
        for (text, want) in
            [("0-3,7", "0-3,7"), ("", "''"), ("a b", "'a b'"), ("$(x)'", "'$(x)'\\'''")]
        {
            assert_eq!(quoted(text), want);
        }
        assert_eq!(write("4096 1", "/proc/a b"), "echo '4096 1' >'/proc/a b'");
    }

    #[test]
    fn the_shell_reads_back_what_was_quoted() {
        for text in ["a'b\"c $HOME `x` \\ *", "plain", "two\nlines"] {
            let line = format!("printf %s {}", quoted(text));
            let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
