//! Cores, what holds them back, and the kernel that runs on them.

use std::path::PathBuf;

use crate::bounds::Judged;
use crate::condition::Scene;
use crate::groups::{self, Layout};
use crate::machine::count_of_list;
use crate::reading::{Place, Reading};
use crate::unit::Service;

/// The first kernel with everything that a volley uses.
const KERNEL: (u64, u64) = (6, 0);

/// Cores the process, or the service, may run on.
pub fn cores(scene: &Scene) -> Reading {
    let judged = Judged::of(scene.root);
    let online = scene.root.text("/sys/devices/system/cpu/online").unwrap_or_default();
    let is_part = count_of_list(&online) > scene.machine.cores;
    let mut notes = Vec::new();
    if let Judged::Service(service) = &judged {
        let said = |directive| Some((directive, service.cores(directive)?.file));
        let all = ["CPUAffinity", "AllowedCPUs"].into_iter().filter_map(said);
        notes.extend(all.map(|(directive, file)| format!("{directive}= in {file}")));
    }
    notes.extend(is_part.then(|| format!("of those online: {online}")));
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Reading::Here(vec![Place::told(scene.machine.cores.to_string())], judged.note(note))
}

/// The tightest quota of the groups, or of the service's unit, in cores.
pub fn quota(scene: &Scene) -> Reading {
    let judged = Judged::of(scene.root);
    let all = groups::judged(scene.root, "cpu");
    let of_unit = |service: &Service| {
        let bound = service.cpu_quota()?;
        // It is felt in the group that the service has where it runs.
        let group = all.first().map(|(_, slice)| slice.join("touchline.service"));
        Some((bound.value, bound.file, group.unwrap_or_default()))
    };
    let own = match &judged {
        Judged::Service(service) => of_unit(service),
        Judged::Shell | Judged::Process => None,
    };
    let of_group = |(layout, folder): &(Layout, PathBuf)| {
        let cores = quota_of(scene, *layout, folder.to_str()?)?;
        Some((cores, folder.display().to_string(), folder.clone()))
    };
    let quotas = all.iter().filter_map(of_group).chain(own);
    let Some((cores, source, group)) = quotas.min_by(|a, b| a.0.total_cmp(&b.0)) else {
        return Reading::Absent(judged.without("quota", "CPUQuota="));
    };
    let stat = scene.root.text(&group.join("cpu.stat").display().to_string());
    let stat = stat.unwrap_or_default();
    let throttled = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    let throttled = throttled.map_or(String::new(), |count| format!("; throttled {count} times"));
    let note = judged.note(Some(format!("{source}{throttled}")));
    Reading::Here(vec![Place::told(format!("{cores}"))], note)
}

fn quota_of(scene: &Scene, layout: Layout, folder: &str) -> Option<f64> {
    let number = |file: &str| scene.root.text(&format!("{folder}/{file}"))?.parse::<f64>().ok();
    let (quota, period) = match layout {
        Layout::V2 => {
            let text = scene.root.text(&format!("{folder}/cpu.max"))?;
            let (quota, period) = text.split_once(' ')?;
            // `max` is no number: no quota.
            (quota.parse().ok()?, period.parse().ok()?)
        }
        Layout::V1 => (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?),
    };
    // -1 is v1's word for none.
    (quota > 0.0 && period > 0.0).then(|| (quota / period * 100.0).round() / 100.0)
}

/// The longest way back from a state that is allowed, in microseconds.
pub fn idle_states(scene: &Scene) -> Reading {
    let states = scene.root.glob("/sys/devices/system/cpu/cpu0/cpuidle/state*/latency");
    let allowed = states.iter().filter_map(|path| {
        let folder = path.strip_suffix("/latency")?;
        let is_off = scene.root.number(&format!("{folder}/disable")) == Some(1);
        let name = scene.root.text(&format!("{folder}/name")).unwrap_or_default();
        (!is_off).then_some((scene.root.number(path)?, name))
    });
    match allowed.max() {
        Some((latency, name)) => Reading::Here(vec![Place::told(latency.to_string())], Some(name)),
        None => Reading::Absent("no idle states: the hypervisor's business".into()),
    }
}

/// How many guards are at work, and against how many weaknesses there are none.
pub fn mitigations(scene: &Scene) -> Reading {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let all = scene.root.list(folder);
    let state = |name: &String| scene.root.text(&format!("{folder}/{name}"));
    let states: Vec<String> = all.iter().filter_map(state).collect();
    if states.is_empty() {
        return Reading::Absent("the kernel doesn't tell".into());
    }
    let count = |front: &str| states.iter().filter(|state| state.starts_with(front)).count();
    let (guarded, open) = (count("Mitigation"), count("Vulnerable"));
    let note = format!("{open} weaknesses without a guard");
    let value = format!("{guarded} of {} at work", states.len());
    Reading::Here(vec![Place::told(value)], (open > 0).then_some(note))
}

/// The kernel's version.
pub fn kernel(scene: &Scene) -> Reading {
    let version = scene.machine.kernel_version();
    if version == (0, 0) {
        return Reading::Unknown("the kernel doesn't tell its version".into());
    }
    let want = match version >= KERNEL {
        true => scene.machine.kernel.clone(),
        false => format!("{}.{} or newer", KERNEL.0, KERNEL.1),
    };
    let missing = match version {
        (major, minor) if (major, minor) < (5, 1) => Some("no io_uring"),
        (major, minor) if (major, minor) < (5, 17) => Some("every send posts a completion"),
        (major, minor) if (major, minor) < (5, 19) => Some("no COOP_TASKRUN"),
        (major, minor) if (major, minor) < KERNEL => Some("no SINGLE_ISSUER"),
        _ => None,
    };
    Reading::Here(
        vec![Place::told(&scene.machine.kernel).wanting(want)],
        missing.map(str::to_owned),
    )
}
