//! Interrupts by their names: after a boot, or once queues change, one has another number.

use crate::plan::Change;
use crate::reading::Spot;
use crate::root::Root;

const FOLDER: &str = "/proc/irq/";

/// The name of the interrupt whose file is `spot`; `None` where that is none of an interrupt.
pub fn name_of(root: &Root, spot: &Spot) -> Option<String> {
    name(root, number_at(spot)?)
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
        let now = number(root, name)?;
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

fn number(root: &Root, name: &str) -> Option<String> {
    let text = root.text("/proc/interrupts")?;
    let is_it = |line: &&str| line.split_whitespace().next_back() == Some(name);
    let (number, _) = text.lines().find(is_it)?.trim_start().split_once(':')?;
    Some(number.to_owned())
}

fn name(root: &Root, irq: &str) -> Option<String> {
    let text = root.text("/proc/interrupts")?;
    let is_it = |line: &&str| line.trim_start().split_once(':').is_some_and(|(n, _)| n == irq);
    let name = text.lines().find(is_it)?.split_whitespace().next_back()?;
    // It goes into a script: a name that isn't plain stays out.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    name.chars().all(plain).then(|| name.to_owned())
}
