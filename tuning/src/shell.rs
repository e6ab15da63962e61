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

/// The same for the interrupt of that name, whose number is another one after each boot; of several
/// the one at that place, from 0.
pub fn write_interrupt(value: &str, name: &str, nth: usize) -> String {
    format!(
        "awk -v name={} -v nth={nth} \
         '$NF == name && seen++ == nth {{ sub(\":\", \"\", $1); print $1 }}' /proc/interrupts |\n\
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
    fn of_interrupts_of_one_name_the_one_at_its_place_is_written() {
        let tree = crate::testing::Tree::new();
        tree.file("/proc/interrupts", "41: 7 PCI eth0\n42: 7 PCI other\n43: 7 PCI eth0\n");
        for irq in [41, 42, 43] {
            tree.file(&format!("/proc/irq/{irq}/smp_affinity_list"), "9\n");
        }
        let top = format!("{}/proc/", tree.root().path("").display()).replace("//", "/");
        for (nth, value) in [(1, "3"), (0, "2"), (2, "1")] {
            let line = write_interrupt(value, "eth0", nth).replace("/proc/", &top);
            assert!(
                std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success()
            );
        }
        let of =
            |irq: u32| tree.root().text(&format!("/proc/irq/{irq}/smp_affinity_list")).unwrap();
        assert_eq!([41, 42, 43].map(of), ["2", "9", "3"]);
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
