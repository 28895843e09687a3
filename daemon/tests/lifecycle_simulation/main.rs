//! The lifecycle in a world made from a seed: processes that become ready late or never, die of
//! every signal, hang, ignore orders, say things twice, and whose words arrive after their death. An operator renews,
//! adds and removes services meanwhile; plugins are suspended and tried again.
//!
//! The clock is virtual, so hours pass in milliseconds. After each step the rules in `check` hold,
//! or the seed is printed; `SEEDS=1 SEED=4711` runs one world again, `SEEDS` and `STEPS` make the
//! long form. It knows the lifecycle by its events, orders and views only.

#[path = "../support/dice.rs"]
mod dice;
mod drains;
mod fate;
mod model;
mod operator;
mod rules;
mod turns;
mod world;

use std::collections::BTreeMap;

use world::World;

#[test]
fn every_world_keeps_the_rules() {
    let from = number_from_environment("SEED", 1);
    let seeds = number_from_environment("SEEDS", 1_000);
    let steps = number_from_environment("STEPS", 400);
    let mut seen = BTreeMap::new();
    for seed in from..from + seeds {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
        world.stop();
        for (what, count) in &world.seen {
            *seen.entry(*what).or_insert(0) += count;
        }
    }
    if seeds >= 500 {
        // A world in which nothing happens keeps all rules.
        for what in [
            "announced",
            "service failed",
            "hang ended",
            "kill after abort",
            "late word",
            "never ready",
            "paced",
            "spawn failed",
            "kill at drain's end",
            "hurried",
            "given time by progress",
            "second stop",
            "innocent kill",
            "refused later",
            "given up before it had a process",
            "stopped while some waited",
            "given up while some waited",
            "as many starting as may be",
            "committed",
            "given up",
            "change refused",
            "proven",
            "rolled back",
            "third generation",
            "service added",
            "service removed",
            "paused",
            "suspended",
            "tried by one",
            "lent",
            "reclaimed",
        ] {
            assert!(
                seen.get(what).is_some_and(|count| *count > 10),
                "{what} is rare: {seen:?}"
            );
        }
        // It takes five minutes without a fault, which few worlds have.
        assert!(seen.contains_key("trusted again"), "{seen:?}");
    }
}

fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}
