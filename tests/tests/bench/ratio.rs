//! What a delivery costs, against a server that does nothing but send, in the same breath.

use crate::{Results, turn};

/// The promise is 1.05 (DESIGN section 10), kept on a quiet host by `make bench`. A shared host and
/// a build with assertions are given the rest.
const RATIO_MAX: f64 = 1.3;

#[test]
fn a_delivery_costs_what_the_kernel_charges_within_a_third() {
    let Some(_turn) = turn() else { return };
    // As many sockets as in the table: an event's publishing, dear in this build, is shared by all.
    let asked = ["compare", "--scenario", "hot-topic", "--peers", "none", "--one-floor"];
    let results = Results::of(
        &[&asked[..], &["--pairs", "5", "--sockets", "10000", "--time", "0.2"]].concat(),
    );
    assert!(results.output.status.success(), "{}", results.said());
    let cost = |subject: &serde_json::Value| -> Vec<f64> {
        let runs = results.runs().into_iter().filter(|run| run["subject"] == *subject);
        runs.map(|run| run["cpu_us"].as_f64().unwrap()).collect()
    };
    let floor = cost(&serde_json::json!({ "floor": "volley" }));
    let ours = cost(&serde_json::json!("touchline"));
    assert_eq!((floor.len(), ours.len()), (5, 5), "{}", results.said());
    let mut ratios: Vec<f64> = ours.iter().zip(&floor).map(|(ours, floor)| ours / floor).collect();
    ratios.sort_by(f64::total_cmp);
    println!("ratios to the floor: {ratios:.2?}");
    assert!(ratios[2] <= RATIO_MAX, "median of {ratios:.2?}: {}", results.said());
    for run in results.runs() {
        assert_eq!(run["harvest"]["counts"]["delivered"], run["expected"], "{}", results.said());
    }
}
