use super::portable::Portable;
use super::*;

/// All bytes of lanes.
fn bytes(lanes: &Sixteen) -> [u8; 32] {
    std::array::from_fn(|at| lanes[at / 2].to_le_bytes()[at % 2])
}

#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
#[allow(unsafe_code)]
mod x86 {
    use super::super::avx2::Avx2;
    use super::super::avx512::Avx512;
    use super::*;

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub(super) fn avx2(lanes: &Sixteen, key: u16, wide: &Eight) -> [u32; 5] {
        [
            Avx2::at_most(lanes, key),
            Avx2::count_at_most(lanes, key),
            Avx2::equal_bytes(&bytes(lanes), key as u8),
            Avx2::equal_under(lanes, 0x0fff, key & 0x0fff),
            Avx2::count_at_most_32(wide, wide[3]),
        ]
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512vl")]
    pub(super) fn avx512(lanes: &Sixteen, key: u16, wide: &Eight) -> [u32; 5] {
        [
            Avx512::at_most(lanes, key),
            Avx512::count_at_most(lanes, key),
            Avx512::equal_bytes(&bytes(lanes), key as u8),
            Avx512::equal_under(lanes, 0x0fff, key & 0x0fff),
            Avx512::count_at_most_32(wide, wide[3]),
        ]
    }
}

#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
#[test]
#[allow(unsafe_code)]
fn all_instructions_compare_alike() {
    let mut seed = 1u64;
    let mut word = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 48) as u16
    };
    for round in 0..20_000 {
        let mut lanes = [0; 16];
        for lane in &mut lanes {
            *lane = if round % 2 == 0 { word() } else { word() % 8 };
        }
        let key = if round % 2 == 0 { lanes[round % 16].wrapping_add(word() % 3) } else { word() % 8 };
        let wide: Eight = std::array::from_fn(|n| u32::from(lanes[n]) << 16 | u32::from(lanes[n + 8]));
        let expected = [
            Portable::at_most(&lanes, key),
            Portable::count_at_most(&lanes, key),
            Portable::equal_bytes(&bytes(&lanes), key as u8),
            Portable::equal_under(&lanes, 0x0fff, key & 0x0fff),
            Portable::count_at_most_32(&wide, wide[3]),
        ];
        if Instructions::Avx2.are_available() {
            // SAFETY: the processor has the features.
            assert_eq!(unsafe { x86::avx2(&lanes, key, &wide) }, expected, "{lanes:?} {key}");
        }
        if Instructions::Avx512.are_available() {
            // SAFETY: the processor has the features.
            assert_eq!(unsafe { x86::avx512(&lanes, key, &wide) }, expected, "{lanes:?} {key}");
        }
    }
}
