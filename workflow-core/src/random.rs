//! Where ids and other random bits come from: the operating system, or a seed in a simulation.

use std::cell::Cell;

use uuid::Uuid;

thread_local! {
    /// How many numbers were drawn from which seed. Nothing but a simulation sets it.
    static SEEDED: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// Makes every id and random number of this thread a function of `seed` and of how many were drawn before; `None` makes
/// them random again. For simulations: two processes with the same seed give away the same ids.
///
/// Not public API.
#[doc(hidden)]
pub fn seed(seed: Option<u64>) {
    SEEDED.set(seed.map(|seed| (seed, 0)));
}

/// A UUID of version 7 (RFC 9562 section 5.7): ordered by time, in a simulation by the order of the calls.
///
/// Not public API.
#[doc(hidden)]
pub fn ordered_uuid() -> Uuid {
    match draw() {
        None => Uuid::now_v7(),
        Some((drawn, bits)) => {
            let mut random = [0; 10];
            random.copy_from_slice(&bits.to_le_bytes()[..10]);
            uuid::Builder::from_unix_timestamp_millis(drawn, &random).into_uuid()
        }
    }
}

/// Random bits, 122 of them good.
///
/// Not public API.
#[doc(hidden)]
pub fn bits() -> u128 {
    // Version 4 UUIDs are random bits of the operating system.
    draw().map_or_else(|| Uuid::new_v4().as_u128(), |(_, bits)| bits)
}

/// The next number of the seed, and how many there were before.
fn draw() -> Option<(u64, u128)> {
    let (seed, drawn) = SEEDED.get()?;
    SEEDED.set(Some((seed, drawn + 1)));
    let high = mix(seed ^ mix(2 * drawn));
    let low = mix(seed ^ mix(2 * drawn + 1));
    Some((drawn, (u128::from(high) << 64) | u128::from(low)))
}

/// A step of SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_repeats_ids_in_order() {
        let draw = |of| {
            seed(of);
            (ordered_uuid(), ordered_uuid(), bits())
        };
        let (first, second, bits) = draw(Some(7));
        assert_eq!(draw(Some(7)), (first, second, bits));
        assert_ne!(draw(Some(8)).0, first);
        assert!(first < second);
        assert_eq!(first.get_version_num(), 7);
        let (first, second, _) = draw(None);
        assert_ne!(draw(None).0, first);
        assert!(first < second);
    }
}
