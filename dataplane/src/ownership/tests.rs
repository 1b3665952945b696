use super::*;
use proptest::prelude::*;

fn spreads() -> [Spread; 2] {
    [Spread::keyed([9; 16]), Spread::Ports(SymmetricKey::new(0x1234, 8, 128))]
}

proptest! {
    #[test]
    fn both_directions_have_one_hash(a: u32, b: u32, c: u128, d: u128) {
        for spread in spreads() {
            prop_assert_eq!(spread.pair_v4(a, b), spread.pair_v4(b, a));
            prop_assert_eq!(spread.pair_v6(c, d), spread.pair_v6(d, c));
        }
    }
}

/// Hosts in a row that talk to one server are spread evenly.
#[test]
fn neighbors_in_a_row_are_spread_evenly() {
    const WORKERS: u32 = 8;
    for spread in spreads() {
        let mut counts = [[0_u32; WORKERS as usize]; 2];
        for n in 0..4096_u32 {
            let v4 = spread.pair_v4(0x0a00_0000 + n, 0x0a01_0005);
            let v6 = spread.pair_v6(0xfd00 << 112 | u128::from(n), 0xfd01 << 112 | 5);
            counts[0][spread.worker(v4, WORKERS)] += 1;
            counts[1][spread.worker(v6, WORKERS)] += 1;
        }
        for count in counts.iter().flatten() {
            assert!((350..700).contains(count), "{counts:?} by {spread:?}");
        }
    }
}

/// Who does not know the secret can't pick pairs that fall to one worker.
#[test]
fn another_secret_is_another_spread() {
    let (one, other) = (Spread::keyed([1; 16]), Spread::keyed([2; 16]));
    let pairs = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761), n));
    let aimed: Vec<_> = pairs.filter(|(a, b)| one.worker(one.pair_v4(*a, *b), 4) == 0).collect();
    let hit = aimed.iter().filter(|(a, b)| other.worker(other.pair_v4(*a, *b), 4) == 0).count();
    assert!(hit * 3 < aimed.len(), "{hit} of {}", aimed.len());
}

/// Few hosts in a row are spread as by chance, whatever the secret.
#[test]
fn few_hosts_in_a_row_do_not_crowd_at_one_worker() {
    let is_crowded = |secret: u16| {
        let [a, b] = secret.to_le_bytes();
        let spread = Spread::keyed([a, b, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let owners = (0..16_u32).map(|n| spread.worker(spread.pair_v4(0x0a00_0a0a + n, 0x0a00_140a), 2));
        !(3..14).contains(&owners.sum::<usize>())
    };
    // By chance 0.42 % are: 8 of these.
    let crowded = (0..2000).filter(|secret| is_crowded(*secret)).count();
    assert!(crowded <= 20, "{crowded} of 2000 secrets");
}
