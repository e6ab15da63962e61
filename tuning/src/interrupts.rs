//! Interrupts by their names: after a boot, or once queues change, one has another number.
//!
//! Some drivers give all of theirs the same name. Those are told apart by their place among each
//! other, in the order of `/proc/interrupts`.

use crate::plan::Change;
use crate::reading::Spot;
use crate::root::Root;

const FOLDER: &str = "/proc/irq/";

/// The name of the interrupt whose file is `spot`, and its place among those of that name, from 0;
/// `None` where the file is none of an interrupt.
pub fn name_of(root: &Root, spot: &Spot) -> Option<(String, usize)> {
    let irq = number_at(spot)?;
    let text = root.text("/proc/interrupts")?;
    let (_, name) = named(&text).find(|(number, _)| *number == irq)?;
    let nth = named(&text).filter(|(_, other)| *other == name).position(|(n, _)| n == irq)?;
    // It goes into a script: a name that isn't plain stays out.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    name.chars().all(plain).then(|| (name.to_owned(), nth))
}

/// Whether it is a file of an interrupt.
pub fn has(spot: &Spot) -> bool {
    number_at(spot).is_some()
}

/// Where a change stands by now; `None` where the interrupt that it concerned is gone.
pub fn standing_spot(root: &Root, change: &Change) -> Option<Spot> {
    let spot = &change.spot;
    let Spot::File { path, bracketed } = spot else { return Some(spot.clone()) };
    if let (Some(name), Some(irq)) = (&change.interrupt, number_at(spot)) {
        let now = number(root, name, change.nth)?;
        let path = path.replacen(&format!("{FOLDER}{irq}/"), &format!("{FOLDER}{now}/"), 1);
        return Some(Spot::File { path, bracketed: *bracketed });
    }
    Some(spot.clone())
}

/// The number in `/proc/irq/N/...`.
fn number_at(spot: &Spot) -> Option<&str> {
    let Spot::File { path, .. } = spot else { return None };
    path.strip_prefix(FOLDER)?.split('/').next()
}

fn number(root: &Root, name: &str, nth: usize) -> Option<String> {
    let text = root.text("/proc/interrupts")?;
    let (number, _) = named(&text).filter(|(_, other)| *other == name).nth(nth)?;
    Some(number.to_owned())
}

fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(':')?;
        Some((number, rest.split_whitespace().next_back()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn interrupts_of_one_name_are_told_apart_by_their_place() {
        let tree = Tree::new();
        let text = "      CPU0\n 40: 1 PCI 0-edge mlx5\n 41: 1 PCI 1-edge eth0\n 42: 1 PCI 1-edge mlx5\n\
                    LOC: 1 Local timer\n 43: 1 PCI 2-edge a;b\n";
        let root = tree.file("/proc/interrupts", text).root();
        let spot = |irq: u32| Spot::File {
            path: format!("/proc/irq/{irq}/smp_affinity_list"),
            bracketed: false,
        };
        let found = [40, 41, 42, 43, 44].map(|irq| name_of(&root, &spot(irq)));
        let of = |name: &str, nth| Some((name.to_owned(), nth));
        assert_eq!(found, [of("mlx5", 0), of("eth0", 0), of("mlx5", 1), None, None]);
        assert_eq!(number(&root, "mlx5", 1).as_deref(), Some("42"));
        assert_eq!(number(&root, "mlx5", 2), None);
    }
}
