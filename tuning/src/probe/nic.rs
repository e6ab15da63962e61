//! Settings of network interfaces, by [`ethtool`](crate::ethtool).

use std::io::ErrorKind;

use crate::condition::Scene;
use crate::ethtool::{self, Field, Setting};
use crate::machine::Nic;
use crate::qdisc;
use crate::reading::{Place, Reading, Spot};

/// Microseconds a packet may wait where the NIC can't adapt: a tenth of a millisecond or so.
const RX_USECS_MOST: u64 = 128;

/// Queues in which no flow starves another; in `noqueue` nothing waits.
const FAIR_QDISCS: [&str; 4] = ["fq", "fq_codel", "cake", "noqueue"];

/// Who is judged.
pub fn nic(scene: &Scene) -> Reading {
    let names = scene.machine.nics.iter().map(|nic| {
        let driver = nic.driver.as_deref().unwrap_or("no driver");
        let queues = if nic.rx_queues == 1 { "queue" } else { "queues" };
        Place::told(format!("{}: {driver}, {} {queues}", nic.name, nic.rx_queues))
    });
    match names.collect::<Vec<_>>() {
        none if none.is_empty() => no_nics(),
        names => Reading::Here(names, None),
    }
}

pub(super) fn no_nics() -> Reading {
    Reading::Absent("no network interface with hardware is up; name one with --nic".into())
}

/// Queue pairs.
pub fn queues(scene: &Scene) -> Reading {
    settings(scene, Field::Queues)
}

/// Packets of a receive ring.
pub fn ring_rx(scene: &Scene) -> Reading {
    settings(scene, Field::RingRx)
}

/// Packets of a transmit ring.
pub fn ring_tx(scene: &Scene) -> Reading {
    settings(scene, Field::RingTx)
}

fn settings(scene: &Scene, field: Field) -> Reading {
    let place = |nic: &Nic| -> std::io::Result<Option<Place>> {
        let settings = ethtool::read(scene.root, &nic.name)?;
        Ok(settings.get(&field).map(|setting| Place {
            max: setting.max,
            ..place_of(nic, field, setting.now.to_string())
        }))
    };
    gather(scene, place)
}

/// What packets wait in on their way out.
pub fn qdisc(scene: &Scene) -> Reading {
    gather(scene, |nic| {
        let kinds = qdisc::kinds(scene.root, &nic.name)?;
        let is_fair = kinds.iter().all(|kind| FAIR_QDISCS.contains(&kind.as_str()));
        let now = kinds.join(" and ");
        let want = if is_fair { now.clone() } else { "fq".into() };
        Ok((!kinds.is_empty()).then(|| Place::told(now).called(&nic.name).wanting(want)))
    })
}

/// How long a received packet waits: `adaptive`, or microseconds.
pub fn coalescing(scene: &Scene) -> Reading {
    let place = |nic: &Nic| -> std::io::Result<Option<Place>> {
        let settings = ethtool::read(scene.root, &nic.name)?;
        let adaptive = settings.get(&Field::AdaptiveRx).map(|setting| setting.now);
        let usecs = settings.get(&Field::RxUsecs).map(|Setting { now, .. }| *now);
        // virtio says so where the hypervisor takes no wishes.
        if nic.driver.as_deref() == Some("virtio_net") && (adaptive, usecs) == (Some(0), Some(0)) {
            return Ok(None);
        }
        Ok(match (adaptive, usecs) {
            (Some(0), usecs) => {
                let shown = usecs.map_or("fixed".into(), |usecs| format!("{usecs} us"));
                let place = place_of(nic, Field::AdaptiveRx, "0".into());
                Some(Place { fields: vec![shown], ..place }.wanting("adaptive"))
            }
            (Some(_), _) => {
                let place = place_of(nic, Field::AdaptiveRx, "1".into());
                Some(Place { fields: vec!["adaptive".into()], ..place }.wanting("adaptive"))
            }
            (None, Some(usecs)) => {
                let want = usecs.min(RX_USECS_MOST);
                let place = place_of(nic, Field::RxUsecs, usecs.to_string());
                Some(place.wanting(want.to_string()))
            }
            (None, None) => None,
        })
    };
    gather(scene, place)
}

fn place_of(nic: &Nic, field: Field, value: String) -> Place {
    let spot = Spot::Nic { nic: nic.name.clone(), field };
    Place { spot: Some(spot), ..Place::told(value) }.called(&nic.name)
}

fn gather(scene: &Scene, place: impl Fn(&Nic) -> std::io::Result<Option<Place>>) -> Reading {
    if scene.machine.nics.is_empty() {
        return no_nics();
    }
    let mut places = Vec::new();
    for nic in &scene.machine.nics {
        match place(nic) {
            Ok(found) => places.extend(found),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Reading::Unknown(format!("{}: {error}", nic.name)),
        }
    }
    match places.is_empty() {
        true => Reading::Absent("the driver has no such setting".into()),
        false => Reading::Here(places, None),
    }
}
